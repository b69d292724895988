// A tool call in plain language, and its output as something to read.
import { type Key, t } from "../../i18n";
import type { ToolView } from "../../state/view";
import type { IconName } from "../../ui/icon";

type Input = Record<string, unknown>;

const asInput = (input: unknown): Input =>
  typeof input === "object" && input !== null && !Array.isArray(input) ? (input as Input) : {};

const text = (input: Input, ...names: string[]): string => {
  for (const name of names) {
    const value = input[name];
    if (typeof value === "string" && value) return value;
  }
  return "";
};

const oneLine = (words: string, most = 120) => {
  const line = words.trim().replace(/\s+/g, " ");
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
};

const pathOf = (input: Input) => text(input, "path", "file_path", "filePath", "file");

type Verb = "ran" | "read" | "wrote" | "edited" | "searched" | "found" | "listed" | "fetched";

interface Words {
  icon: IconName;
  verb: Verb;
  /** What it is done to, and what to call it while that is not known. */
  object(input: Input): string;
  otherwise: Key;
}

const pattern = (input: Input) => oneLine(text(input, "pattern", "query", "path"), 80);
const known: Record<string, Words> = {
  bash: {
    icon: "terminal",
    verb: "ran",
    object: (input) => oneLine(text(input, "command", "cmd")),
    otherwise: "tool.command",
  },
  read: { icon: "file", verb: "read", object: pathOf, otherwise: "tool.file" },
  write: { icon: "pencil", verb: "wrote", object: pathOf, otherwise: "tool.newFile" },
  edit: { icon: "pencil", verb: "edited", object: pathOf, otherwise: "tool.file" },
  grep: { icon: "search", verb: "searched", object: pattern, otherwise: "tool.search" },
  find: { icon: "search", verb: "found", object: pattern, otherwise: "tool.search" },
  ls: { icon: "folder", verb: "listed", object: (input) => pathOf(input) || ".", otherwise: "tool.file" },
  fetch: {
    icon: "globe",
    verb: "fetched",
    object: (input) => oneLine(text(input, "url")),
    otherwise: "tool.page",
  },
};

const aliases: Record<string, string> = {
  shell: "bash",
  exec: "bash",
  run_command: "bash",
  read_file: "read",
  view: "read",
  write_file: "write",
  create: "write",
  edit_file: "edit",
  patch: "edit",
  str_replace: "edit",
  glob: "find",
  list: "ls",
  search: "grep",
  webfetch: "fetch",
  web_fetch: "fetch",
};

const wordsFor = (name: string): Words | undefined => {
  const key = name.toLowerCase();
  return known[key] ?? known[aliases[key] ?? ""];
};

export const toolIcon = (name: string): IconName => wordsFor(name)?.icon ?? "tool";

type Titled = Pick<ToolView, "name" | "input" | "inputText" | "state">;

/** “Ran ls -la”, “Running ls -la” before its end, or the tool's own name with its first short argument. */
export function toolTitle(tool: Titled): string {
  const input = asInput(tool.input ?? partialInput(tool.inputText));
  const words = wordsFor(tool.name);
  if (!words) return ownTitle(tool.name, input);
  const isDone = tool.state === "success" || tool.state === "error";
  const key: Key = isDone ? `tool.${words.verb}` : `tool.${words.verb}Now`;
  return t(key, { what: words.object(input) || t(words.otherwise) });
}

function ownTitle(name: string, input: Input): string {
  const first = Object.values(input).find((value) => typeof value === "string" && value);
  return first ? `${name}: ${oneLine(String(first), 80)}` : name;
}

/** What can be read of JSON that is still being written: its finished members. */
function partialInput(json: string): unknown {
  if (!json) return null;
  const members = json.matchAll(/"(\w+)"\s*:\s*"((?:[^"\\]|\\.)*)/g);
  return Object.fromEntries([...members].map((member) => [member[1], unescapeJson(member[2] ?? "")]));
}

function unescapeJson(text: string): string {
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    return text;
  }
}

export interface Output {
  text: string;
  images: Array<{ data: string; mimeType: string }>;
}

interface Block {
  type?: unknown;
  text?: unknown;
  data?: unknown;
  mimeType?: unknown;
}

/** Output as agents give it (a text, a list of blocks, `{content: […]}`, any JSON) as text and pictures. */
export function toOutput(output: unknown): Output {
  if (output === null || output === undefined) return { text: "", images: [] };
  if (typeof output === "string") return { text: output, images: [] };
  const content = Array.isArray(output) ? output : (output as { content?: unknown }).content;
  if (typeof content === "string") return { text: content, images: [] };
  if (Array.isArray(content) && content.every(isBlock)) return fromBlocks(content);
  return { text: JSON.stringify(output, null, 2), images: [] };
}

const isBlock = (value: unknown): value is Block =>
  typeof value === "object" && value !== null && "type" in value;

function fromBlocks(blocks: Block[]): Output {
  const texts = blocks.filter((block) => typeof block.text === "string").map((block) => String(block.text));
  const images = blocks
    .filter((block) => block.type === "image" && typeof block.data === "string")
    .map((block) => ({ data: String(block.data), mimeType: String(block.mimeType ?? "image/png") }));
  return { text: texts.join("\n"), images };
}

/** The input to show in full: a command or file as it is, anything else as JSON. */
export function inputText(tool: Pick<ToolView, "input" | "inputText">): string {
  if (tool.input === null || tool.input === undefined) return tool.inputText;
  if (typeof tool.input === "string") return tool.input;
  const input = asInput(tool.input);
  const names = Object.keys(input);
  if (names.length === 1 && typeof input[names[0] ?? ""] === "string") return String(input[names[0] ?? ""]);
  return JSON.stringify(tool.input, null, 2);
}
