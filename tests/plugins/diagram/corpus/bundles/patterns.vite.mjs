import * as e from "cloudflare:workers";
// t2.ts
var t = /* @__PURE__ */ function(e) {
	return e.A = "enum step", e;
}(t || {}), n = 6e4, r = {
	retries: {
		limit: 3,
		delay: 2 * n
	},
	timeout: "5 minutes"
};
async function i(e, t) {
	await e.do(`helper ${t}`, async () => 1);
}
var a = class extends e.WorkflowEntrypoint {
	async load(e) {
		await e.do("inherited", async () => {});
	}
	static async st(e) {
		await e.do("static", async () => {});
	}
	#e = async (e) => {
		await e.do("private", async () => {});
	};
	async callp(e) {
		await this.#e(e);
	}
}, o = class e extends a {
	async run(a, o) {
		let { do: l, sleep: u } = o, d = o, f = o.do.bind(o), { id: p, user: { name: m } } = a.payload;
		if (await l("destructured", {
			...r,
			retries: {
				...r.retries,
				backoff: "linear"
			}
		}, async () => {}), await o.do(t.A, async () => {}), await f("bound", async () => {}), await d.do("subscript", async () => {}), await i(o, 1), await i(o, 2), await this.load(o), await e.st(o), await this.callp(o), !p) {
			await o.do("guard", async () => {});
			return;
		}
		let h = (await o.waitForEvent("approval", {
			type: "appr",
			timeout: "1 day"
		})).payload;
		h.approved ? await o.do("yes", async () => {}) : h.x ? await o.do("maybe", async () => {}) : await o.do("no", async () => {});
		for (let e of await o.do("list", async () => [])) if (!e.skip && (await o.do(`item ${e.id}`, async () => {}), e.last)) break;
		for (; !await o.do("poll", async () => 1);) await u("wait", n);
		let g = [];
		for (let e of [1, 2]) g.push(o.do(`push ${e}`, async () => {}));
		await Promise.all(g), await Promise.all([1, 2].map(async (e) => {
			await o.do("m1", async () => {}), await o.do("m2", async () => {});
		}));
		try {
			await o.do("try", async () => {});
		} catch (e) {
			throw await o.do("catch", async () => {}), e;
		} finally {
			await o.do("finally", async () => {});
		}
		try {
			await o.do("t2", async () => {});
		} finally {
			await o.do("f2", async () => {});
		}
		switch (await o.do("chain", async () => {}).catch(async () => {
			await o.do("rescue", async () => {});
		}), p ?? await o.do("nullish", async () => 1), p && await o.do("and", async () => 1), await (p ? o.do("t", async () => {}) : o.do("f", async () => {})), p) {
			case "a":
				await o.do("case a", async () => {});
				break;
			case "b":
			case "c": await o.do("bc", async () => {});
			default: await o.do("def", async () => {});
		}
		await (async () => {
			await o.do("iife1", async () => {}), await o.do("iife2", async () => {});
		})();
		let _ = o.do("pa", async () => {}), v = o.do("pb", async () => {});
		await _, await o.do("pc", async () => {}), await v, await o.do("pd", async () => {}), await Promise.race([o.waitForEvent("ev", { type: "x" }), o.sleep("timeout", "1 hour")]), await o.sleepUntil("until", /* @__PURE__ */ new Date()), { do: (e) => e }.do("shadowed"), await [1, 2].forEach(async (e) => {
			await o.do(`each ${e}`, async () => e);
		});
		let y = async (e) => {
			if (e > 3) await o.do("max", async () => {});
			else return await o.do(`l ${e}`, async () => {}), y(e + 1);
		};
		return await y(0), console.log(await s(o), await c()), await withRetry(async () => {
			await o.do("cb", async () => {});
		}), await o.do("outer", async () => {
			await o.do("inner", async () => {});
		}), await o.do("last", async () => {}), 5;
	}
}, s = async (e) => {
	await e.do("in B", async () => {});
};
async function c() {
	return 1;
}
var l = (e, t, n) => e.do(t, n), u = class extends e.WorkflowEntrypoint {
	async run(e, t) {
		await l(t, "w1", async () => {}), await l(t, "w2", async () => {}), await new d(t).go();
		outer: for (;;) for (;;) {
			await t.do("lab", () => {});
			break outer;
		}
	}
}, d = class {
	step;
	constructor(e) {
		this.step = e;
	}
	async go() {
		await this.step.do("ctx go", async () => {});
	}
};
export { o as Renamed, u as Second };
