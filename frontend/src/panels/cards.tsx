import { createUniqueId, For, type JSX } from "solid-js";
import type { PanelView } from "../api/types.gen";
import { useApp } from "../state/app";
import type { Place } from "./contract";
import { PanelHost } from "./host";

/** The panels of a page, each in a card under its own heading. */
export function PanelCards(props: { place: Place }): JSX.Element {
  const app = useApp();
  return <For each={app.panels.at(props.place)}>{(panel) => <PanelCard panel={panel} />}</For>;
}

function PanelCard(props: { panel: PanelView }): JSX.Element {
  const id = createUniqueId();
  return (
    <section class="card stack-tight" aria-labelledby={id}>
      <h2 id={id}>{props.panel.title}</h2>
      <PanelHost panel={props.panel} />
    </section>
  );
}
