var __defProp = Object.defineProperty;
var __name = (target, value) => __defProp(target, "name", { value, configurable: true });

// t1.ts
import { WorkflowEntrypoint } from "cloudflare:workers";
var ImplicitParallelWorkflow = class extends WorkflowEntrypoint {
  static {
    __name(this, "ImplicitParallelWorkflow");
  }
  async run(event, step) {
    const branchA = /* @__PURE__ */ __name(async () => {
      const a = step.do("task a", async () => "a");
      const b = step.do("task b", async () => "b");
      const c = await step.waitForEvent("task c", { type: "my-event", timeout: "1 hour" });
      await step.do("task d", async () => JSON.stringify(c));
      return Promise.all([a, b]);
    }, "branchA");
    const branchB = /* @__PURE__ */ __name(async () => {
      const e = step.do("task e", async () => "e");
      const f = step.do("task f", async () => "f");
      return Promise.all([e, f]);
    }, "branchB");
    await Promise.all([branchA(), branchB()]);
    await step.sleep("final sleep", 1e3);
  }
};
export {
  ImplicitParallelWorkflow
};
