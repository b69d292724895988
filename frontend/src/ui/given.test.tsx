import { readdirSync, readFileSync } from "node:fs";
import { render } from "@solidjs/testing-library";
import { createEffect, createSignal } from "solid-js";
import { expect, it } from "vitest";
import { Given } from "./given";

it("gives whoever reads too late the last value, and leaves with the value", () => {
  const [name, setName] = createSignal<string | null>("Ada");
  let late = () => "";
  const screen = render(() => (
    <Given value={name()} fallback="nobody">
      {(known) => {
        late = known;
        createEffect(() => known().length);
        return <b>{known()}</b>;
      }}
    </Given>
  ));
  setName("Grace");
  expect(screen.container.textContent).toBe("Grace");
  setName(null);
  expect(screen.container.textContent).toBe("nobody");
  expect(late()).toBe("Grace");
});

it("is used wherever a child reads the value that it hangs on: the accessors of Show and Match throw", () => {
  const source = `${import.meta.dirname}/..`;
  const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".tsx"),
  );
  const narrowed = /<(?:Show|Match)\b(?:(?!\bkeyed\b)[^<])*?>\s*\{\(\w+\) =>/;
  expect(files.length).toBeGreaterThan(20);
  expect(files.filter((name) => narrowed.test(readFileSync(`${source}/${name}`, "utf8")))).toEqual([]);
});
