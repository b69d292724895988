// Which panels there are for the signed-in person: asked once, found by place or by the tool that they show.
import { createSignal } from "solid-js";
import { api } from "../api/client";
import type { PanelView } from "../api/types.gen";
import type { Place } from "./contract";

export function createPanels() {
  const [panels, setPanels] = createSignal<PanelView[]>([]);
  // A house whose panels cannot be listed still works; the next page load asks again.
  void api.panels().then(setPanels, () => {});
  return {
    at: (place: Place) => panels().filter((panel) => panel.place === place),
    forTool: (name: string) => panels().find((panel) => panel.tools?.includes(name)),
  };
}

export const keyOf = (panel: PanelView) => `${panel.plugin}/${panel.element}`;
