var __defProp = Object.defineProperty;
var __name = (target, value) => __defProp(target, "name", { value, configurable: true });

// t2.ts
import * as cf from "cloudflare:workers";
var MIN = 60 * 1e3;
var CFG = { retries: { limit: 3, delay: 2 * MIN }, timeout: "5 minutes" };
async function helper(step, n) {
  await step.do(`helper ${n}`, async () => 1);
}
__name(helper, "helper");
var Base = class extends cf.WorkflowEntrypoint {
  static {
    __name(this, "Base");
  }
  async load(s) {
    await s.do("inherited", async () => {
    });
  }
  static async st(s) {
    await s.do("static", async () => {
    });
  }
  #p = /* @__PURE__ */ __name(async (s) => {
    await s.do("private", async () => {
    });
  }, "#p");
  async callp(s) {
    await this.#p(s);
  }
};
var Impl = class _Impl extends Base {
  static {
    __name(this, "Impl");
  }
  async run(event, step) {
    const { do: d, sleep } = step;
    const alias = step;
    const bound = step.do.bind(step);
    const { id, user: { name } } = event.payload;
    await d("destructured", { ...CFG, retries: { ...CFG.retries, backoff: "linear" } }, async () => {
    });
    await step.do("enum step" /* A */, async () => {
    });
    await bound("bound", async () => {
    });
    await alias["do"]("subscript", async () => {
    });
    await helper(step, 1);
    await helper(step, 2);
    await this.load(step);
    await _Impl.st(step);
    await this.callp(step);
    if (!id) {
      await step.do("guard", async () => {
      });
      return;
    }
    const evt = (await step.waitForEvent("approval", { type: "appr", timeout: "1 day" })).payload;
    if (evt.approved) {
      await step.do("yes", async () => {
      });
    } else if (evt.x) await step.do("maybe", async () => {
    });
    else {
      await step.do("no", async () => {
      });
    }
    for (const x of await step.do("list", async () => [])) {
      if (x.skip) continue;
      await step.do(`item ${x.id}`, async () => {
      });
      if (x.last) break;
    }
    while (true) {
      const s = await step.do("poll", async () => 1);
      if (s) break;
      await sleep("wait", MIN);
    }
    const ps = [];
    for (const y of [1, 2]) ps.push(step.do(`push ${y}`, async () => {
    }));
    await Promise.all(ps);
    await Promise.all([1, 2].map(async (z) => {
      await step.do("m1", async () => {
      });
      await step.do("m2", async () => {
      });
    }));
    try {
      await step.do("try", async () => {
      });
    } catch (e) {
      await step.do("catch", async () => {
      });
      throw e;
    } finally {
      await step.do("finally", async () => {
      });
    }
    try {
      await step.do("t2", async () => {
      });
    } finally {
      await step.do("f2", async () => {
      });
    }
    await step.do("chain", async () => {
    }).catch(async () => {
      await step.do("rescue", async () => {
      });
    });
    const v = id ?? await step.do("nullish", async () => 1);
    id && await step.do("and", async () => 1);
    await (id ? step.do("t", async () => {
    }) : step.do("f", async () => {
    }));
    switch (id) {
      case "a":
        await step.do("case a", async () => {
        });
        break;
      case "b":
      case "c":
        await step.do("bc", async () => {
        });
      default:
        await step.do("def", async () => {
        });
    }
    await (async () => {
      await step.do("iife1", async () => {
      });
      await step.do("iife2", async () => {
      });
    })();
    const a = step.do("pa", async () => {
    });
    const b = step.do("pb", async () => {
    });
    await a;
    await step.do("pc", async () => {
    });
    await b;
    await step.do("pd", async () => {
    });
    await Promise.race([step.waitForEvent("ev", { type: "x" }), step.sleep("timeout", "1 hour")]);
    await step.sleepUntil("until", /* @__PURE__ */ new Date());
    {
      const step2 = { do: /* @__PURE__ */ __name((n) => n, "do") };
      step2.do("shadowed");
    }
    await [1, 2].forEach(async (item) => {
      await step.do(`each ${item}`, async () => item);
    });
    const loop = /* @__PURE__ */ __name(async (n) => {
      if (n > 3) {
        await step.do("max", async () => {
        });
        return;
      }
      await step.do(`l ${n}`, async () => {
      });
      return loop(n + 1);
    }, "loop");
    await loop(0);
    console.log(await fB(step), await fC());
    await withRetry(async () => {
      await step.do("cb", async () => {
      });
    });
    await step.do("outer", async () => {
      await step.do("inner", async () => {
      });
    });
    return await step.do("last", async () => {
    }), 5;
  }
};
var fB = /* @__PURE__ */ __name(async (s) => {
  await s.do("in B", async () => {
  });
}, "fB");
async function fC() {
  return 1;
}
__name(fC, "fC");
var wrap = /* @__PURE__ */ __name((step, name, fn) => step.do(name, fn), "wrap");
var Second = class extends cf.WorkflowEntrypoint {
  static {
    __name(this, "Second");
  }
  async run(e, s) {
    await wrap(s, "w1", async () => {
    });
    await wrap(s, "w2", async () => {
    });
    const c = new Ctx(s);
    await c.go();
    outer: for (; ; ) {
      for (; ; ) {
        await s.do("lab", () => {
        });
        break outer;
      }
    }
  }
};
var Ctx = class {
  constructor(step) {
    this.step = step;
  }
  step;
  static {
    __name(this, "Ctx");
  }
  async go() {
    await this.step.do("ctx go", async () => {
    });
  }
};
export {
  Impl as Renamed,
  Second
};
