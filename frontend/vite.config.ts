import { loadEnv } from "vite";
import solid from "vite-plugin-solid";
import { defineConfig } from "vitest/config";

export default defineConfig(({ mode }) => {
  const env = loadEnv(mode, import.meta.dirname, "VITE_");
  const target = env.VITE_CONTROL_PLANE_URL || "http://localhost:8080";
  // The server takes unsafe methods and sockets from its own origin only, so the proxy speaks as that origin.
  const upstream = { target, changeOrigin: true, ws: true, headers: { origin: new URL(target).origin } };
  return {
    base: "/",
    plugins: [solid()],
    server: { port: 3000, proxy: { "/api": upstream, "/health": upstream } },
    build: {
      target: "es2022",
      manifest: true,
      // The content security policy allows fonts and scripts from files only.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      rolldownOptions: {
        // The second page is the inside of a panel's frame; the server names its script in the document it sends.
        input: { main: "index.html", frame: "src/panels/frame.ts" },
        output: {
          entryFileNames: ({ name }) => (name === "frame" ? "panels/frame.js" : "assets/[name]-[hash].js"),
        },
      },
    },
    test: {
      environment: "jsdom",
      include: ["src/**/*.test.{ts,tsx}"],
      restoreMocks: true,
    },
  };
});
