// A tool call in plain language, and its output as something to read.
import { t } from "../../i18n";
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

interface Words {
  icon: IconName;
  say(input: Input): string;
}

const known: Record<string, Words> = {
  bash: {
    icon: "terminal",
    say: (input) => sayOr("tool.ran", "command", oneLine(text(input, "command", "cmd")), "tool.command"),
  },
  read: { icon: "file", say: (input) => sayOr("tool.read", "path", pathOf(input), "tool.file") },
  write: { icon: "pencil", say: (input) => sayOr("tool.wrote", "path", pathOf(input), "tool.newFile") },
  edit: { icon: "pencil", say: (input) => sayOr("tool.edited", "path", pathOf(input), "tool.file") },
  grep: {
    icon: "search",
    say: (input) =>
      sayOr("tool.searched", "words", oneLine(text(input, "pattern", "query"), 80), "tool.search"),
  },
  find: {
    icon: "search",
    say: (input) => sayOr("tool.found", "words", oneLine(text(input, "pattern", "path"), 80), "tool.search"),
  },
  ls: { icon: "folder", say: (input) => t("tool.listed", { path: pathOf(input) || "." }) },
  fetch: {
    icon: "globe",
    say: (input) => sayOr("tool.fetched", "url", oneLine(text(input, "url")), "tool.page"),
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

function sayOr(
  key:
    | "tool.ran"
    | "tool.read"
    | "tool.wrote"
    | "tool.edited"
    | "tool.searched"
    | "tool.found"
    | "tool.fetched",
  slot: string,
  value: string,
  otherwise: "tool.command" | "tool.file" | "tool.newFile" | "tool.search" | "tool.page",
): string {
  return t(key, { [slot]: value || t(otherwise) });
}

const wordsFor = (name: string): Words | undefined => {
  const key = name.toLowerCase();
  return known[key] ?? known[aliases[key] ?? ""];
};

export const toolIcon = (name: string): IconName => wordsFor(name)?.icon ?? "tool";

/** “Ran ls -la”, or the tool's own name with its first short argument. */
export function toolTitle(tool: Pick<ToolView, "name" | "input" | "inputText">): string {
  const input = asInput(tool.input ?? partialInput(tool.inputText));
  const words = wordsFor(tool.name);
  if (words) return words.say(input);
  const first = Object.values(input).find((value) => typeof value === "string" && value);
  return first ? `${tool.name}: ${oneLine(String(first), 80)}` : tool.name;
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
