import type { AuditRecord } from "../../api/types.gen";
import { type Key, t } from "../../i18n";
import { admin } from "../../i18n/en-admin";

/** The action in words; what a plugin wrote keeps the plugin's name. */
export function nameOf(event: string): string {
  const key = `event.${event}`;
  return key in admin ? t(key as Key) : event;
}

/** `2026-05-01 14:03:21` on the reader's clock: sortable by eye, whatever the language. */
export function moment(ms: number): string {
  const at = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return at.toISOString().slice(0, 19).replace("T", " ");
}

/** What the record is about, in one line. */
export function aboutOf(record: AuditRecord): string {
  const fields = (record.fields ?? {}) as { [name: string]: unknown };
  const told = ["command", "answer", "state", "address", "reason", "keys"]
    .map((name) => fields[name])
    .filter(Boolean);
  const target = record.target === record.account || record.event === "sign-in" ? "" : record.target;
  return [target, record.session, ...told.map(plain)].filter(Boolean).join(" · ");
}

/** A recorded value as text. */
export function plain(value: unknown): string {
  if (Array.isArray(value)) return value.map(plain).join(", ");
  return typeof value === "string" ? value : JSON.stringify(value);
}
