import { createContext } from "solid-js";
import type { PanelView } from "../api/types.gen";

/** The panel of a plugin that shows the calls of a tool, where one does. A transcript by itself has none. */
export const Renderers = createContext<(tool: string) => PanelView | undefined>(() => undefined);
