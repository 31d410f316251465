import { WorkflowEntrypoint as e } from "cloudflare:workers";
// t1.ts
var t = class extends e {
	async run(e, t) {
		await Promise.all([(async () => {
			let e = t.do("task a", async () => "a"), n = t.do("task b", async () => "b"), r = await t.waitForEvent("task c", {
				type: "my-event",
				timeout: "1 hour"
			});
			return await t.do("task d", async () => JSON.stringify(r)), Promise.all([e, n]);
		})(), (async () => {
			let e = t.do("task e", async () => "e"), n = t.do("task f", async () => "f");
			return Promise.all([e, n]);
		})()]), await t.sleep("final sleep", 1e3);
	}
};
export { t as ImplicitParallelWorkflow };
