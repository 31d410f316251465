import { WorkflowEntrypoint as e } from "cloudflare:workers";
// t5.ts
var t = class extends e {
	async run(e, t) {
		let i = await t.do("urls", async () => []);
		await Promise.allSettled(i.map((e) => t.do(`fetch ${e}`, { retries: {
			limit: 2,
			delay: "1 second"
		} }, async () => fetch(e))));
		let [a, o] = await Promise.all([t.do("a", async () => 1), this.two(t)]);
		for (let e = 0; e < 10; e += 5) {
			let n = i.slice(e, e + 5).map((e) => t.do(`b ${e}`, async () => e));
			await Promise.all(n);
		}
		let s = t.do("bg", async () => 1).then((e) => t.do("after", async () => e));
		await t.do("meanwhile", async () => 1), await s;
		let c = {
			step: t,
			run: async () => {
				await t.do("obj", async () => 1);
			}
		};
		await c.run(), await c.step.do("nested obj", async () => 1);
		for await (let e of n(t)) await t.do("handle", async () => e);
		do
			await t.do("dw", async () => 1);
		while (await t.do("cond", async () => !1));
		let l = [async () => t.do("f1", async () => 1), async () => t.do("f2", async () => 2)];
		for (let e of l) await e();
		await Promise.all(l.map((e) => e())), await (cond ? this.two : this.three).call(this, t), await [
			1,
			2,
			3
		].reduce(async (e, n) => {
			await e, await t.do(`r ${n}`, async () => n);
		}, Promise.resolve());
		for (let e of ["x", "y"]) await t.do(e, async () => 1);
		let u = setTimeout;
		if (await new Promise((e) => u(e, 1)), a) throw Error();
		try {
			await Promise.any([t.do("any1", async () => 1), t.do("any2", async () => 2)]);
		} catch {
			return { ok: !1 };
		}
		await r(t), await r?.(t);
		let d;
		return d = a ? t.do("qa", async () => 1) : t.do("qb", async () => 1), await d, { ok: await t.do("final", async () => !0) };
	}
	async two(e) {
		await e.do("two", async () => 2);
	}
	async three(e) {
		await e.do("three", async () => 3);
	}
};
async function* n(e) {
	for (;;) yield await e.do("page", async () => 1);
}
var r = async ({ do: e }) => e("help", async () => 1);
export { t as default };
