import { render } from "@solidjs/testing-library";
import { expect, it, vi } from "vitest";
import { Announcer, announce } from "./announcer";

it("speaks at most every three seconds, and says what came last; what is urgent comes at once", async () => {
  vi.useFakeTimers();
  vi.setSystemTime(1_000_000);
  const { getByRole } = render(() => <Announcer />);
  const polite = getByRole("status");
  let changes = 0;
  new MutationObserver(() => changes++).observe(polite, {
    childList: true,
    characterData: true,
    subtree: true,
  });
  announce("first");
  await vi.advanceTimersByTimeAsync(0);
  expect(polite.textContent).toBe("first");
  for (let at = 0; at < 1000; at++) announce(`step ${at}`);
  await vi.advanceTimersByTimeAsync(2_900);
  expect(polite.textContent).toBe("first");
  await vi.advanceTimersByTimeAsync(200);
  expect(polite.textContent).toBe("step 999");
  announce("a question", true);
  await vi.advanceTimersByTimeAsync(0);
  expect(getByRole("alert").textContent).toBe("a question");
  expect(changes).toBeLessThanOrEqual(4);
  vi.useRealTimers();
});
