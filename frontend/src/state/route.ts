import { createSignal } from "solid-js";

export type Route =
  | { page: "setup"; token: string }
  | { page: "home" }
  | { page: "new"; path: string }
  | { page: "session"; id: string }
  | { page: "models" }
  | { page: "budget" }
  | { page: "account" }
  | { page: "config" }
  | { page: "audit"; session: string };

/** `#/session/ses_1` → the page and its parts. An address that is not known is home. */
export function parseRoute(hash: string): Route {
  const [page = "", ...rest] = hash.replace(/^#\/?/, "").split("/");
  const first = decode(rest[0] ?? "");
  if (page === "setup" && first) return { page, token: first };
  if (page === "session" && first) return { page, id: first };
  if (page === "new") return { page, path: decode(rest.join("/")) };
  if (page === "audit") return { page, session: first };
  if (page === "models" || page === "budget" || page === "account" || page === "config") return { page };
  return { page: "home" };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const [route, setRoute] = createSignal<Route>(parseRoute(window.location.hash));
window.addEventListener("hashchange", () => setRoute(parseRoute(window.location.hash)));

export { route };

export const sessionPath = (id: string) => `#/session/${encodeURIComponent(id)}`;
export const newPath = (path = "") => (path ? `#/new/${encodeURIComponent(path)}` : "#/new");

export function go(hash: string, { replace = false } = {}): void {
  if (!replace) {
    window.location.hash = hash;
    return;
  }
  history.replaceState(null, "", hash);
  setRoute(parseRoute(hash));
}
