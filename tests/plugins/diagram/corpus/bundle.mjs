// Regenerates bundles/: in a directory with these sources, npm i esbuild vite @rspack/core, then node bundle.mjs ./patterns.ts ./implicit_parallel.ts
import esbuild from "esbuild"; import { build } from "vite"; import { rspack } from "@rspack/core"; import path from "path"; import fs from "fs";
const files = process.argv.slice(2);
for (const f of files) { const name = path.basename(f).replace(/\.\w+$/, "");
 await esbuild.build({ entryPoints: [f], bundle: true, format: "esm", minify: true, target: "es2022", external: ["cloudflare:*"], outfile: `bundles/${name}.esbuild.js`, logLevel: "error" });
 await esbuild.build({ entryPoints: [f], bundle: true, format: "esm", keepNames: true, target: "es2022", external: ["cloudflare:*"], outfile: `bundles/${name}.wrangler.js`, logLevel: "error" });
 await build({ logLevel: "error", configFile: false, build: { target: "es2022", minify: true, lib: { entry: f, formats: ["es"], fileName: `${name}.vite` }, outDir: "bundles", emptyOutDir: false, rollupOptions: { external: [/^cloudflare:/] } } });
 await new Promise((ok, no) => rspack({ mode: "production", entry: path.resolve(f), target: "es2022", experiments: { outputModule: true }, externalsType: "module", externals: [({ request }, cb) => /^cloudflare:/.test(request) ? cb(null, `module ${request}`) : cb()], output: { path: path.resolve("bundles"), filename: `${name}.rspack.js`, module: true, library: { type: "module" }, chunkFormat: "module" }, module: { rules: [{ test: /\.ts$/, loader: "builtin:swc-loader", options: { jsc: { parser: { syntax: "typescript" }, target: "es2022" } }, type: "javascript/auto" }] }, resolve: { extensions: [".ts", ".js"] } }, (e, s) => e || s.hasErrors() ? no(e || s.toString()) : ok()));
}
