import { describe, expect, it } from "vitest";
import type { ToolState } from "../../state/view";
import { shorten } from "./tool-card";
import { inputText, toOutput, toolTitle } from "./tool-words";

const tool = (name: string, input: unknown, state: ToolState = "success", inputText = "") => ({
  name,
  input,
  state,
  inputText,
});

describe("a tool in plain words", () => {
  it.each([
    [tool("bash", { command: "ls -la" }), "Ran ls -la"],
    [tool("bash", { command: "ls -la" }, "running"), "Running ls -la"],
    [tool("Read", { file_path: "a.py" }), "Read a.py"],
    [tool("edit", { path: "a.py" }, "preparing"), "Editing a.py"],
    [tool("bash", null, "preparing", '{"command":"npm te'), "Running npm te"],
    [tool("bash", null, "preparing"), "Running a command"],
    [tool("bash", { command: "a\n  b" }), "Ran a b"],
    [tool("make_coffee", { kind: "black", sugar: 2 }), "make_coffee: black"],
    [tool("make_coffee", null), "make_coffee"],
    [tool("bash", "not an object"), "Ran a command"],
  ])("%o", (given, title) => {
    expect(toolTitle(given)).toBe(title);
  });
});

describe("output", () => {
  it.each([
    [null, ""],
    ["text", "text"],
    [
      {
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
      "a\nb",
    ],
    [[{ type: "text", text: "a" }], "a"],
    [{ exit: 1 }, '{\n  "exit": 1\n}'],
  ])("%o is readable", (output, text) => {
    expect(toOutput(output).text).toBe(text);
  });

  it("keeps pictures apart", () => {
    const { images } = toOutput({ content: [{ type: "image", data: "AAAA", mimeType: "image/png" }] });
    expect(images).toEqual([{ data: "AAAA", mimeType: "image/png" }]);
  });

  it("shows a lone argument without its wrapping", () => {
    expect(inputText({ input: { command: "ls" }, inputText: "" })).toBe("ls");
    expect(inputText({ input: { a: 1 }, inputText: "" })).toContain('"a": 1');
  });

  it("cuts what is long, by lines and by characters", () => {
    expect(shorten("x\n".repeat(500)).split("\n").length).toBeLessThanOrEqual(61);
    expect(shorten("x".repeat(50_000)).length).toBe(6000);
    expect(shorten("short")).toBe("short");
  });
});
