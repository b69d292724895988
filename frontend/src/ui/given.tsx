import { type Accessor, createMemo, type JSX, untrack } from "solid-js";

interface GivenProps<T> {
  value: T | null | undefined | false | 0 | "";
  fallback?: JSX.Element;
  children(value: Accessor<T>): JSX.Element;
}

/**
 * Shows its children while there is a value. Unlike that of `<Show>`, the accessor never throws: whoever reads
 * it at the moment the value goes (an effect, a timer, a leaving child) still gets the last one.
 */
export function Given<T>(props: GivenProps<T>): JSX.Element {
  const isThere = createMemo(() => Boolean(props.value));
  const shown = createMemo(() => {
    if (!isThere()) return props.fallback;
    return untrack(() => {
      let last = props.value as T;
      const value = () => {
        last = (props.value as T) || last;
        return last;
      };
      return props.children(value);
    });
  });
  return shown as unknown as JSX.Element;
}
