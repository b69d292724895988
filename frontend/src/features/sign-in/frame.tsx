import type { JSX, ParentProps } from "solid-js";
import { Mark } from "../../ui/icon";

/** The quiet page around signing in and setting up. */
export function Frame(props: ParentProps<{ title: string; lead?: string }>): JSX.Element {
  return (
    <main class="centre" id="main">
      <div class="panel-narrow stack">
        <header class="stack-tight">
          <div class="brand">
            <Mark class="mark-large" />
            <span>Oqto</span>
          </div>
          <h1>{props.title}</h1>
          {props.lead && <p class="muted lead">{props.lead}</p>}
        </header>
        {props.children}
      </div>
    </main>
  );
}
