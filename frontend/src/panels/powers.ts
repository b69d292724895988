import { api } from "../api/client";
import type { Method, Powers } from "./contract";

const METHODS: readonly string[] = ["GET", "POST", "PUT", "PATCH", "DELETE"] satisfies Method[];
const MAX_CHARS = 1_000_000;
const MAX_SUGGESTION = 20_000;

/** What the panel of `plugin` may do, whoever it is: every argument is checked here, frame or not. */
export function powersOf(plugin: string, onSuggest: ((text: string) => void) | undefined): Powers {
  return {
    call: async (method, path, body) => {
      if (!METHODS.includes(method)) throw new Error(`a panel cannot call with ${String(method)}`);
      if ((JSON.stringify(body)?.length ?? 0) > MAX_CHARS) throw new Error("the body is too large");
      return api.ofPlugin(method, routeOf(plugin, path), body);
    },
    suggest: async (text) => {
      if (typeof text !== "string" || text.length > MAX_SUGGESTION) throw new Error("suggest a shorter text");
      if (!onSuggest) throw new Error("there is no message field here to put a text into");
      onSuggest(text);
    },
  };
}

/** The address of a route of the plugin, or an error when `path` leads anywhere else. */
export function routeOf(plugin: string, path: unknown): string {
  const base = `/api/plugins/${plugin}/`;
  const refused = new Error(`a panel may call the routes below ${base} only`);
  // A slash that is hidden from the browser here could be found by whoever decodes the path later.
  if (typeof path !== "string" || /%2f|%5c|%2e|\\/i.test(path.split(/[?#]/)[0] ?? "")) throw refused;
  let url: URL;
  try {
    url = new URL(path.replace(/^\/+/, ""), window.location.origin + base);
  } catch {
    throw refused;
  }
  if (url.origin !== window.location.origin || !url.pathname.startsWith(base)) throw refused;
  return url.pathname + url.search;
}
