import { fireEvent, render } from "@solidjs/testing-library";
import { createSignal } from "solid-js";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Composer, draftKey } from "./composer";

beforeEach(() => {
  localStorage.clear();
  vi.stubGlobal("matchMedia", () => ({ matches: true }));
});

function write(start: { isWorking?: boolean } = {}) {
  const sent: Array<[string, string]> = [];
  const [isWorking] = createSignal(start.isWorking ?? false);
  const page = render(() => (
    <Composer
      sessionId="ses_1"
      accountId="acc_1"
      isWorking={isWorking()}
      isStopping={false}
      takesImages={false}
      placeholder=""
      commands={{ own: [], load: async () => [] }}
      suggestion=""
      onSend={(sendAs, text) => sent.push([sendAs, text])}
      onStop={() => {}}
    />
  ));
  const area = page.getByLabelText("Message") as HTMLTextAreaElement;
  const type = (text: string) => fireEvent.input(area, { target: { value: text } });
  return { page, area, sent, type };
}

describe("writing", () => {
  it("Enter sends, Shift+Enter does not", () => {
    const { area, sent, type } = write();
    type("hello");
    fireEvent.keyDown(area, { key: "Enter", shiftKey: true });
    expect(sent).toEqual([]);
    fireEvent.keyDown(area, { key: "Enter" });
    expect(sent).toEqual([["prompt", "hello"]]);
    expect(area.value).toBe("");
  });

  it("an Enter of an input method belongs to the input method", () => {
    const { area, sent, type } = write();
    type("にほん");
    fireEvent.keyDown(area, { key: "Enter", isComposing: true });
    fireEvent.keyDown(area, { key: "Enter", keyCode: 229 });
    expect(sent).toEqual([]);
  });

  it("while the agent works: Enter steers, Alt+Enter waits for the end of the turn", () => {
    const { area, sent, type } = write({ isWorking: true });
    type("look here");
    fireEvent.keyDown(area, { key: "Enter" });
    type("then this");
    fireEvent.keyDown(area, { key: "Enter", altKey: true });
    expect(sent).toEqual([
      ["steer", "look here"],
      ["follow_up", "then this"],
    ]);
  });

  it("nothing is sent when there is nothing", () => {
    const { area, sent, type } = write();
    type("   ");
    fireEvent.keyDown(area, { key: "Enter" });
    expect(sent).toEqual([]);
  });

  it("the draft is there again after a reload, and gone once it is sent", () => {
    const first = write();
    first.type("half a thought");
    first.page.unmount();
    const second = write();
    expect(second.area.value).toBe("half a thought");
    fireEvent.keyDown(second.area, { key: "Enter" });
    expect(localStorage.getItem(draftKey("acc_1", "ses_1"))).toBeNull();
  });
});
