// Sentences around the panels of plugins.
export const panels = {
  "panel.toggle": "Panels",
  "panel.side": "Panel",
  "panel.close": "Close the panel",
  "panel.failed": "“{title}” cannot be shown",
  "panel.failedSafe": "This is a matter of the plugin {plugin}. Everything else goes on working.",
  "panel.noElement": "{module} defines no element {name}",
  "panel.silent": "It did not answer. Load the page again, or look into the plugin's log.",
  "tool.raw": "Input and output",
} as const;
