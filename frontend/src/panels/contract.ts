// What a panel of a plugin gets and may do. Published: docs/how-to/add-a-panel.md tells authors the same.
import type { PanelView } from "../api/types.gen";

/** Of the messages between a frame and the page around it. A frame of another version is not connected. */
export const VERSION = 1;

export type Place = PanelView["place"];

/** Set as the property `oqto` of the element before it enters the page, and anew whenever something changed. */
export interface Oqto extends Facts {
  /** Calls a route of the panel's own plugin; `path` is relative to `/api/plugins/<plugin>/`. JSON in and out. */
  call(method: Method, path: string, body?: unknown): Promise<unknown>;
  /** Puts a text into the message field of the session, for the person to send or not. */
  suggest(text: string): Promise<void>;
}

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** What a panel knows. Plain values: they travel into a frame as they are. */
export interface Facts {
  version: typeof VERSION;
  plugin: string;
  place: Place;
  theme: "light" | "dark";
  account: { name: string; role: "admin" | "user" };
  session: SessionFacts | null;
  tool: ToolFacts | null;
}

export interface SessionFacts {
  id: string;
  title: string;
  workspace: string;
  harness: string;
  state: string;
}

/** Of a chat renderer: the call that its card shows. */
export interface ToolFacts {
  id: string;
  name: string;
  state: "preparing" | "running" | "success" | "error" | "stopped";
  input: unknown;
  output: unknown;
}

/** What a panel may ask of the page. Nothing else is heard. */
export interface Powers {
  call(method: Method, path: string, body?: unknown): Promise<unknown>;
  suggest(text: string): Promise<void>;
}

/** Custom properties of the page, so that a frame looks like it. */
export type Style = Record<string, string>;

/** To the window around the frame: this page is there and speaks this version. */
export interface Hello {
  oqto: number;
  kind: "hello";
}

/** The answer, with a message port: all that follows goes through it. */
export interface Connect {
  oqto: number;
  kind: "connect";
  facts: Facts;
  style: Style;
}

export type FromFrame =
  | { kind: "ready" }
  | { kind: "failed"; reason: string }
  | { kind: "size"; height: number }
  | { kind: "ask"; id: number; power: keyof Powers; arguments: unknown[] };

/** A typeface as its file: a frame may fetch nothing of the page. */
export interface Typeface {
  family: string;
  file: ArrayBuffer;
}

export type ToFrame =
  | { kind: "fonts"; fonts: Typeface[] }
  | { kind: "facts"; facts: Facts; style: Style }
  | { kind: "answer"; id: number; value: unknown }
  | { kind: "refusal"; id: number; detail: string; code: string; status: number };
