import { WorkflowEntrypoint } from "cloudflare:workers";
export default class extends WorkflowEntrypoint { 
  async run(event, step) {
    const urls = await step.do("urls", async () => []);
    const results = await Promise.allSettled(urls.map((u) => step.do(`fetch ${u}`, { retries: { limit: 2, delay: "1 second" } }, async () => fetch(u))));
    const [a, b] = await Promise.all([step.do("a", async () => 1), this.two(step)]);
    const tasks = []; for (let i = 0; i < 10; i += 5) { const batch = urls.slice(i, i + 5).map((x) => step.do(`b ${x}`, async () => x)); await Promise.all(batch); }
    const p = step.do("bg", async () => 1).then((r) => step.do("after", async () => r));
    await step.do("meanwhile", async () => 1);
    await p;
    const ctx = { step, run: async () => { await step.do("obj", async () => 1); } }; await ctx.run(); await ctx.step.do("nested obj", async () => 1);
    for await (const x of gen(step)) { await step.do("handle", async () => x); }
    do { await step.do("dw", async () => 1) } while (await step.do("cond", async () => false));
    const fns = [async () => step.do("f1", async () => 1), async () => step.do("f2", async () => 2)];
    for (const f of fns) await f();
    await Promise.all(fns.map((f) => f()));
    const m = cond ? this.two : this.three; await m.call(this, step);
    await [1,2,3].reduce(async (acc, x) => { await acc; await step.do(`r ${x}`, async () => x); }, Promise.resolve());
    const steps = ["x", "y"]; for (const s of steps) await step.do(s, async () => 1);
    const t = setTimeout; await new Promise((r) => t(r, 1));
    if (a) { throw new Error() }
    try { await Promise.any([step.do("any1", async () => 1), step.do("any2", async () => 2)]); } catch { return { ok: false } }
    await (0, helper)(step); await helper?.(step);
    let q; if (a) { q = step.do("qa", async()=>1) } else { q = step.do("qb", async()=>1) } await q;
    return { ok: await step.do("final", async () => true) };
  }
  async two(s) { await s.do("two", async () => 2); }
  async three(s) { await s.do("three", async () => 3); }
}
async function* gen(s) { while (true) { yield await s.do("page", async () => 1); } }
const helper = async ({ do: d }) => d("help", async () => 1);
