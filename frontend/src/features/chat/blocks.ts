// Markdown from an agent is untrusted: parsed block by block, so that a growing answer costs its last block only,
// and every block is sanitised before it reaches the page.
import DOMPurify from "dompurify";
import { Marked, type Token, type TokensList } from "marked";
import { t } from "../../i18n";

export type Highlight = (code: string, language: string) => string | null;

const escapes: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (char) => escapes[char] ?? char);

let highlight: Highlight = () => null;
export function useHighlight(next: Highlight): void {
  highlight = next;
  rendered.clear();
}

/** Formulas stay as they were written: `\\,`, `_` and `*` mean something else in them. A price is no formula. */
const MATH = /^(?:\$\$[^$]+?\$\$|\$(?![\s\d])[^$\n]+?(?<![\s\\])\$(?!\d)|\\\([\s\S]+?\\\)|\\\[[\s\S]+?\\\])/;
const math = {
  name: "math",
  level: "inline" as const,
  start: (text: string) => text.match(/\$|\\[([]/)?.index,
  tokenizer(text: string) {
    const raw = MATH.exec(text)?.[0];
    return raw === undefined ? undefined : { type: "math", raw };
  },
  renderer: (token: Token) => escapeHtml(token.raw),
};

const marked = new Marked({
  gfm: true,
  breaks: false,
  extensions: [math],
  renderer: {
    code({ text, lang }) {
      const language = (lang ?? "").split(/\s/)[0] ?? "";
      const body = highlight(text, language) ?? escapeHtml(text);
      const name = escapeHtml(language || t("code.text"));
      const copy = `<button type="button" class="code-copy">${t("code.copy")}</button>`;
      return `<div class="code"><div class="code-head"><span>${name}</span>${copy}</div><pre tabindex="0"><code>${body}</code></pre></div>`;
    },
    // A picture from elsewhere would tell its host who reads this; it is a link until somebody asks for it.
    image({ href, text }) {
      if (/^data:image\/(png|jpe?g|gif|webp);/i.test(href)) {
        return `<img src="${escapeHtml(href)}" alt="${escapeHtml(text)}" loading="lazy">`;
      }
      const label = t("code.image", { alt: text || t("code.imageNoAlt"), host: hostOf(href) });
      return `<a class="remote-image" href="${escapeHtml(href)}">${escapeHtml(label)}</a>`;
    },
    table(token) {
      const cells = (row: typeof token.header, tag: string) =>
        row
          .map(
            (cell) =>
              `<${tag}${cell.align ? ` class="align-${cell.align}"` : ""}>${this.parser.parseInline(cell.tokens)}</${tag}>`,
          )
          .join("");
      const rows = token.rows.map((row) => `<tr>${cells(row, "td")}</tr>`).join("");
      const head = `<thead><tr>${cells(token.header, "th")}</tr></thead>`;
      return `<div class="table-box" tabindex="0"><table>${head}<tbody>${rows}</tbody></table></div>`;
    },
    checkbox({ checked }) {
      return checked ? "☑ " : "☐ ";
    },
  },
});

function hostOf(href: string): string {
  try {
    return new URL(href).host;
  } catch {
    return href;
  }
}

const purifier = DOMPurify();
purifier.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  if (!/^(https?|mailto):/i.test(node.getAttribute("href") ?? "")) {
    node.removeAttribute("href");
    return;
  }
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

const ALLOWED = {
  ALLOWED_TAGS: (
    "a b blockquote br button code del div em h1 h2 h3 h4 h5 h6 hr i img kbd li ol p pre s span strong sub " +
    "summary details sup table tbody td th thead tr ul"
  ).split(" "),
  ALLOWED_ATTR: ["href", "title", "class", "src", "alt", "loading", "type", "tabindex", "start"],
  ALLOW_DATA_ATTR: false,
};

/** Only the classes that our own renderer and the highlighter write. */
const CLASS = /^(code|code-head|code-copy|table-box|remote-image|align-(left|center|right)|hljs-[\w-]+)$/;
purifier.addHook("uponSanitizeAttribute", (_node, data) => {
  if (data.attrName === "class") {
    data.attrValue = data.attrValue
      .split(/\s+/)
      .filter((name) => CLASS.test(name))
      .join(" ");
  }
  if (data.attrName === "src" && !/^data:image\/(png|jpe?g|gif|webp);/i.test(data.attrValue))
    data.keepAttr = false;
});

export function sanitize(html: string): string {
  return purifier.sanitize(html, ALLOWED);
}

const rendered = new Map<string, string>();
const REMEMBERED = 2_000;

function render(token: Token, links: TokensList["links"]): string {
  const known = rendered.get(token.raw);
  if (known !== undefined) return known;
  const html = sanitize(marked.parser(Object.assign([token], { links }) as TokensList));
  if (rendered.size >= REMEMBERED) rendered.clear();
  rendered.set(token.raw, html);
  return html;
}

/** The blocks of a text as safe HTML, in order. */
export function toBlocks(text: string): string[] {
  const tokens = marked.lexer(text);
  return tokens
    .filter((token) => token.type !== "space" && token.type !== "def")
    .map((token) => render(token, tokens.links));
}
