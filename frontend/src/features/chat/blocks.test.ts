import { describe, expect, it } from "vitest";
import { sanitize, toBlocks } from "./blocks";

function page(markdown: string): HTMLElement {
  const element = document.createElement("div");
  element.innerHTML = toBlocks(markdown).join("");
  return element;
}

describe("markdown of an agent", () => {
  it.each([
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "<a href='vbscript:x'>x</a>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src='https://evil.example'></iframe>",
    "<form action='https://evil.example'><input name=password></form>",
    "<style>body{display:none}</style>",
    "<p style='position:fixed;inset:0'>x</p>",
    "<object data=x></object>",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "<math><mtext><img src=x onerror=alert(1)></mtext></math>",
  ])("cannot run or restyle anything: %s", (attack) => {
    const element = page(attack);
    expect(element.querySelector("script, iframe, form, input, style, object, svg, math")).toBeNull();
    for (const node of element.querySelectorAll("*")) {
      for (const { name, value } of node.attributes) {
        expect(name).not.toMatch(/^on|^style$/);
        expect(value).not.toMatch(/javascript:|vbscript:|data:text/i);
      }
    }
  });

  it("loads no picture from elsewhere: it becomes a link that says where it leads", () => {
    const element = page(
      "![a map](https://tracker.example/p.png)\n\n<img src='https://tracker.example/q.png'>",
    );
    for (const image of element.querySelectorAll("img")) expect(image.getAttribute("src")).toBeNull();
    const link = element.querySelector("a");
    expect(link?.textContent).toContain("tracker.example");
    expect(link?.getAttribute("rel")).toBe("noopener noreferrer");
  });

  it("keeps pictures that are part of the text", () => {
    const element = page("![dot](data:image/png;base64,iVBORw0KGgo=)");
    expect(element.querySelector("img")?.getAttribute("src")).toMatch(/^data:image\/png/);
  });

  it("opens links in a new tab that cannot reach back", () => {
    const link = page("[docs](https://docs.example/a)").querySelector("a");
    expect(link?.target).toBe("_blank");
    expect(link?.rel).toBe("noopener noreferrer");
  });

  it("takes no class but its own", () => {
    expect(sanitize('<div class="dialog code">x</div>')).toBe('<div class="code">x</div>');
  });

  it("shows code as it is, with a copy button", () => {
    const element = page("```html\n<b>&amp;</b>\n```");
    expect(element.querySelector("pre")?.textContent).toContain("<b>&amp;</b>");
    expect(element.querySelector("button.code-copy")).not.toBeNull();
  });

  it("leaves finished blocks alone while the text grows", () => {
    const before = toBlocks("# Title\n\nfirst paragraph\n\nsecond");
    const after = toBlocks("# Title\n\nfirst paragraph\n\nsecond grows");
    expect(after.slice(0, 2)).toEqual(before.slice(0, 2));
    expect(after).toHaveLength(3);
  });

  it("resolves links that are defined elsewhere in the text", () => {
    expect(page("[see][1]\n\n[1]: https://a.example").querySelector("a")?.href).toBe("https://a.example/");
  });

  it.each([
    String.raw`$$\int_0^1 x\,dx$$`,
    "$a_1 * b_2 * c$",
    String.raw`\(x_{i} \* y\)`,
    String.raw`\[\sum_i x_i\]`,
    "$a<b$",
  ])("leaves the formula %s as it was written", (formula) => {
    expect(page(`So ${formula} holds.`).textContent?.trim()).toBe(`So ${formula} holds.`);
  });

  it("takes prices for prices", () => {
    expect(page("It costs $5 or *more*, say $10.").querySelector("em")?.textContent).toBe("more");
  });
});
