const wsOn = import.meta.env.VITE_DEBUG_WS === "1";
const piOn = import.meta.env.VITE_DEBUG_PI === "1";

export function debugWs(direction: "in" | "out", frame: unknown): void {
  // biome-ignore lint/suspicious/noConsole: asked for with VITE_DEBUG_WS=1
  if (wsOn) console.debug("[mux]", direction, frame);
}

export function debugPi(event: unknown): void {
  // biome-ignore lint/suspicious/noConsole: asked for with VITE_DEBUG_PI=1
  if (piOn) console.debug("[agent]", event);
}
