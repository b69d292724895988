import { For, type JSX, Show } from "solid-js";
import type { AuditRecord } from "../../api/types.gen";
import { t } from "../../i18n";
import { sessionPath } from "../../state/route";
import { Given } from "../../ui/given";
import { aboutOf, moment, nameOf, plain } from "./audit-words";

/** The records as rows; on a narrow screen each is a card. Details open in place. */
export function AuditRecords(props: { records: AuditRecord[] }): JSX.Element {
  return (
    <ol class="audit-records" aria-label={t("audit.records")}>
      <For each={props.records}>{(record) => <Row record={record} />}</For>
    </ol>
  );
}

function Row(props: { record: AuditRecord }): JSX.Element {
  const outcome = () => props.record.outcome ?? "ok";
  return (
    <li>
      <details class="audit-record" classList={{ "audit-bad": outcome() !== "ok" }}>
        <summary>
          <time class="audit-time" dateTime={new Date(props.record.ts).toISOString()}>
            {moment(props.record.ts)}
          </time>
          <span class="audit-what">
            <strong>{nameOf(props.record.event)}</strong>
            <Show when={outcome() !== "ok"}>
              <span class="tag tag-bad">
                {outcome() === "refused" ? t("audit.refused") : t("audit.failedOutcome")}
              </span>
            </Show>
          </span>
          <span class="audit-who truncate">{props.record.actor || t("audit.nobody")}</span>
          <span class="audit-about truncate muted">{aboutOf(props.record)}</span>
          <span class="visually-hidden">{t("audit.details", { seq: props.record.seq ?? 0 })}</span>
        </summary>
        <Details record={props.record} />
      </details>
    </li>
  );
}

function Details(props: { record: AuditRecord }): JSX.Element {
  const rows = (): Array<[string, string]> => [
    ...Object.entries((props.record.fields ?? {}) as { [name: string]: unknown }).map(
      ([name, value]): [string, string] => [name.replaceAll("_", " "), plain(value)],
    ),
    ...given([
      [t("audit.about"), props.record.target],
      [t("audit.door"), props.record.door],
      [t("audit.request"), props.record.request],
      [t("audit.prev"), props.record.prev],
    ]),
  ];
  return (
    <dl class="audit-details">
      <For each={rows()}>
        {([name, value]) => (
          <div>
            <dt class="small muted">{name}</dt>
            <dd class="mono">{value}</dd>
          </div>
        )}
      </For>
      <Given value={props.record.session}>
        {(session) => (
          <div>
            <dt class="small muted">session</dt>
            <dd class="mono">
              <a href={sessionPath(session())}>{session()}</a>
            </dd>
          </div>
        )}
      </Given>
    </dl>
  );
}

function given(rows: Array<[string, string | undefined]>): Array<[string, string]> {
  return rows.filter((row): row is [string, string] => Boolean(row[1]));
}
