// Shows the lines that a call takes away and puts in. What an agent wrote is text here, never markup.
const sheet = new CSSStyleSheet();
sheet.replaceSync(`
  :host { display: block; font: var(--size-s) / 1.5 var(--mono); }
  .path { padding: 0 0 var(--gap-2); color: var(--muted); overflow-wrap: anywhere; }
  .lines { overflow: auto; max-height: 24rem; border: 1px solid var(--line); border-radius: var(--round-s); }
  .line { display: block; width: max-content; min-width: 100%; box-sizing: border-box; padding: 0 var(--gap-3); white-space: pre; }
  .gone { background: var(--danger-soft); color: var(--danger); }
  .new { background: var(--accent-soft); color: var(--text); }
`);

const MOST_LINES = 400;

/** The parts of an edit, whichever way the tool calls them. */
function editsOf(input) {
  if (Array.isArray(input?.edits)) return input.edits.map(pairOf);
  return [pairOf(input ?? {})];
}

function pairOf(edit) {
  const before = edit.oldText ?? edit.old_text ?? edit.old_string ?? edit.old_str ?? "";
  const after = edit.newText ?? edit.new_text ?? edit.new_string ?? edit.new_str ?? edit.content ?? "";
  return { before: String(before), after: String(after) };
}

const linesOf = (text) => (text ? text.replace(/\n$/, "").split("\n") : []);

/** Lines that both begin or end with are context; what is between them was changed. */
export function changes({ before, after }) {
  const [old, fresh] = [linesOf(before), linesOf(after)];
  let top = 0;
  while (top < old.length && top < fresh.length && old[top] === fresh[top]) top += 1;
  let end = 0;
  while (end < old.length - top && end < fresh.length - top && old.at(-1 - end) === fresh.at(-1 - end)) end += 1;
  const mark = (sign) => (text) => ({ sign, text });
  return [
    ...old.slice(0, top).map(mark(" ")),
    ...old.slice(top, old.length - end).map(mark("-")),
    ...fresh.slice(top, fresh.length - end).map(mark("+")),
    ...fresh.slice(fresh.length - end).map(mark(" ")),
  ];
}

const CLASSES = { "-": "line gone", "+": "line new", " ": "line" };
const WORDS = { "-": "removed", "+": "added" };

class Diff extends HTMLElement {
  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
  }

  set oqto({ tool }) {
    const input = tool?.input;
    const all = editsOf(input).flatMap(changes);
    const lines = document.createElement("div");
    lines.className = "lines";
    lines.tabIndex = 0;
    lines.setAttribute("role", "group");
    lines.setAttribute("aria-label", "Changed lines");
    lines.append(...all.slice(0, MOST_LINES).map(lineOf));
    if (all.length > MOST_LINES) lines.append(lineOf({ sign: " ", text: `… ${all.length - MOST_LINES} more lines` }));
    const path = document.createElement("div");
    path.className = "path";
    path.textContent = input?.path ?? input?.file_path ?? "";
    this.shadowRoot.replaceChildren(path, lines);
  }
}

function lineOf({ sign, text }) {
  const line = document.createElement("span");
  line.className = CLASSES[sign];
  if (WORDS[sign]) line.setAttribute("aria-label", `${WORDS[sign]}: ${text}`);
  line.textContent = `${sign} ${text}`;
  return line;
}

customElements.define("oqto-diff", Diff);
