import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Relative addresses: the page works under any path behind a proxy.
  base: './',
  plugins: [svelte()],
  build: {
    target: 'es2023',
    // The one stylesheet loads beside the script; nothing is preloaded, so nothing is inlined either.
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
  },
  server: {
    // `stagelight up` beside `npm run dev`.
    proxy: { '/api': { target: 'http://127.0.0.1:4318', changeOrigin: true } },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
