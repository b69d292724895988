import "@fontsource-variable/instrument-sans/wght.css";
import "@fontsource-variable/instrument-sans/wght-italic.css";
import "@fontsource-variable/jetbrains-mono/wght.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/ui.css";
import "./styles/shell.css";
import "./styles/screens.css";
import "./styles/chat.css";
import "./styles/prose.css";
import { render } from "solid-js/web";
import { Root } from "./app";
import { showTheme } from "./state/theme";

showTheme();
const place = document.getElementById("app");
if (place) render(() => <Root />, place);
