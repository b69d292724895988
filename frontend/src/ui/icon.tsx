import { For, type JSX } from "solid-js";

const paths = {
  plus: "M12 5v14M5 12h14",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  copy: "M9 9h10v11H9zM5 15V4h10",
  chevron: "M9 6l6 6-6 6",
  down: "M6 9l6 6 6-6",
  up: "M12 19V5M6 11l6-6 6 6",
  arrowDown: "M12 5v14M6 13l6 6 6-6",
  stop: "M7 7h10v10H7z",
  folder: "M3 7a2 2 0 0 1 2-2h4l2 2.5h8a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z",
  branch: "M7 4v10M7 18a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM17 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM17 8c0 4-4 5-8 6.5",
  alert:
    "M12 8v5M12 16.5v.01M10.3 4.2L2.8 17.3A2 2 0 0 0 4.5 20h15a2 2 0 0 0 1.7-2.7L13.7 4.2a2 2 0 0 0-3.4 0z",
  info: "M12 11v5M12 8v.01M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  key: "M14.5 9.5a4 4 0 1 1-1-1l6-6M16 5l3 3M11 11.5",
  terminal: "M5 8l4 4-4 4M12 17h7",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  pencil: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  search: "M11 18a7 7 0 1 1 0-14 7 7 0 0 1 0 14zM16 16l5 5",
  globe: "M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0zM3 12h18M12 3c5 5.5 5 12.5 0 18M12 3c-5 5.5-5 12.5 0 18",
  tool: "M14 7a4 4 0 0 1 5-3.500l-2.5 2.5 1.5 1.500L20.5 5A4 4 0 0 1 15 10.500L7.5 19a2 2 0 0 1-3-3L13 9",
  shield: "M12 3l7 3v5c0 5-3 8.5-7 10-4-1.5-7-5-7-10V6z",
  spark: "M12 3l1.8 5.200L19 10l-5.2 1.800L12 17l-1.8-5.200L5 10l5.2-1.800zM19 16v4M17 18h4",
  user: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20a7.5 7.5 0 0 1 15 0",
  image: "M4 5h16v14H4zM4 16l4.5-4.500L13 16l3-3 4 4M15 9.500v.01",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  refresh: "M20 12a8 8 0 1 1-2.5-5.800L20 8.500M20 4v4.500h-4.5",
  play: "M8 5.500v13l10.5-6.500z",
  thought: "M9 18h6M10 21h4M8.5 15a6 6 0 1 1 7 0c-.5.5-.5 1-.5 1.500h-6c0-.5 0-1-.5-1.500z",
  keyboard: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
  external: "M13 5h6v6M19 5l-9 9M10 6H5v13h13v-5",
  panel: "M4 5h16v14H4zM14 5v14",
  wallet: "M4 7h14a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2zM4 7l11-3v3M16 13.500h.01",
} as const;

export type IconName = keyof typeof paths;

export function Icon(props: { name: IconName; class?: string }): JSX.Element {
  return (
    <svg class={`icon ${props.class ?? ""}`} viewBox="0 0 24 24" aria-hidden="true">
      <path d={paths[props.name]} />
    </svg>
  );
}

const DOTS = Array.from({ length: 8 }, (_, at) => {
  const angle = (at / 8) * 2 * Math.PI - Math.PI / 2;
  return { x: 12 + 8.2 * Math.cos(angle), y: 12 + 8.2 * Math.sin(angle), size: at % 2 ? 1.9 : 2.6 };
});

/** The eight arms of Oqto; while something goes on, they light up in turn. */
export function Mark(props: { isBusy?: boolean; class?: string }): JSX.Element {
  return (
    <svg
      class={`mark ${props.isBusy ? "mark-busy" : ""} ${props.class ?? ""}`}
      viewBox="0 0 24 24"
      aria-hidden="true"
    >
      <For each={DOTS}>{(dot) => <circle cx={dot.x.toFixed(2)} cy={dot.y.toFixed(2)} r={dot.size} />}</For>
    </svg>
  );
}
