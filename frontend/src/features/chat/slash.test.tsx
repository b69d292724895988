import { fireEvent, render } from "@solidjs/testing-library";
import { createSignal } from "solid-js";
import { describe, expect, it, vi } from "vitest";
import { createSlash, matching, type SlashCommand, SlashList } from "./slash";

const named = (name: string, run?: () => void): SlashCommand => ({ name, description: `does ${name}`, run });

Element.prototype.scrollIntoView = () => {};

function write(own: SlashCommand[], theirs: SlashCommand[] = []) {
  const [text, setText] = createSignal("");
  const page = render(() => {
    const slash = createSlash({ text, commands: () => ({ own, load: async () => theirs }), onText: setText });
    return (
      <>
        <SlashList slash={slash} />
        <textarea onKeyDown={(event) => slash.onKey(event)} />
      </>
    );
  });
  const area = page.getByRole("textbox");
  const names = () => page.queryAllByRole("option").map((one) => one.firstChild?.textContent);
  const chosen = () => page.queryByRole("option", { selected: true })?.firstChild?.textContent;
  return { page, text, setText, names, chosen, key: (key: string) => fireEvent.keyDown(area, { key }) };
}

describe("commands after a slash", () => {
  it("those that begin like the word stand first, and a name stands once", () => {
    const all = [named("new"), named("renew"), named("news"), named("new")];
    expect(matching(all, "new").map((one) => one.name)).toEqual(["new", "news", "renew"]);
  });

  it("the arrows choose in a round, and Enter does what the page can do itself", async () => {
    const run = vi.fn();
    const slash = write([named("new"), named("compact", run)], [named("skill:tidy")]);
    slash.setText("/");
    await vi.waitFor(() => expect(slash.names()).toEqual(["/new", "/compact", "/skill:tidy"]));
    slash.key("ArrowUp");
    expect(slash.chosen()).toBe("/skill:tidy");
    slash.key("ArrowDown");
    slash.key("ArrowDown");
    expect(slash.key("Enter")).toBe(false);
    expect(run).toHaveBeenCalledOnce();
    expect(slash.text()).toBe("");
  });

  it("Tab completes a command of the agent; written out, Enter sends it", async () => {
    const slash = write([], [named("tidy")]);
    slash.setText("/ti");
    await vi.waitFor(() => expect(slash.names()).toEqual(["/tidy"]));
    slash.key("Tab");
    expect(slash.text()).toBe("/tidy ");
    expect(slash.names()).toEqual([]);
    slash.setText("/tidy");
    expect(slash.key("Enter")).toBe(true);
  });

  it("Escape closes the list until another command is begun, and is not the agent's", async () => {
    const slash = write([named("new")]);
    const stop = vi.fn();
    window.addEventListener("keydown", stop);
    slash.setText("/n");
    slash.key("Escape");
    expect(slash.names()).toEqual([]);
    expect(stop).not.toHaveBeenCalled();
    slash.setText("");
    slash.setText("/n");
    await vi.waitFor(() => expect(slash.names()).toEqual(["/new"]));
    window.removeEventListener("keydown", stop);
  });

  it("text that only contains a slash opens nothing", () => {
    const slash = write([named("new")]);
    for (const text of ["a /n", "/new more", "src/new", ""]) {
      slash.setText(text);
      expect(slash.names()).toEqual([]);
    }
  });
});
