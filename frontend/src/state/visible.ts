// The keyboard of a phone covers the page without changing its height, except where the browser takes
// `interactive-widget` into account. The composer follows what can really be seen.
export function followVisibleHeight(): void {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const show = () => {
    // Zoomed in, the visible part is a window on the page and not its size.
    const height = viewport.scale > 1.01 ? "" : `${Math.round(viewport.height)}px`;
    document.documentElement.style.setProperty("--visible-height", height);
    if (height && viewport.offsetTop > 0) window.scrollTo(0, 0);
  };
  viewport.addEventListener("resize", show);
  show();
}
