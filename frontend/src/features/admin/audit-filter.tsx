import { For, type JSX } from "solid-js";
import { t } from "../../i18n";
import { Field } from "../../ui/field";
import { nameOf } from "./audit-words";

/** What is looked for. Dates are days of the reader's clock, as their input gives them. */
export interface AuditFilter {
  event: string;
  actor: string;
  outcome: string;
  from: string;
  until: string;
  text: string;
  session: string;
}

export const NOTHING: AuditFilter = {
  event: "",
  actor: "",
  outcome: "",
  from: "",
  until: "",
  text: "",
  session: "",
};

/** The filter as the API takes it; a day that ends is asked for to its last millisecond. */
export function toQuery(filter: AuditFilter): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of ["event", "actor", "outcome", "text", "session"] as const) {
    if (filter[name].trim()) query.set(name, filter[name].trim());
  }
  const from = dayStart(filter.from);
  const until = dayStart(filter.until);
  if (from !== null) query.set("since", String(from));
  if (until !== null) query.set("until", String(until + 86_400_000 - 1));
  return query;
}

function dayStart(day: string): number | null {
  const at = day ? new Date(`${day}T00:00:00`).getTime() : Number.NaN;
  return Number.isFinite(at) ? at : null;
}

interface FilterProps {
  filter: AuditFilter;
  events: string[];
  onChange(part: Partial<AuditFilter>): void;
}

export function FilterForm(props: FilterProps): JSX.Element {
  return (
    <form class="audit-filter" aria-label={t("audit.filters")} onSubmit={(event) => event.preventDefault()}>
      <div class="field">
        <label for="audit-event">{t("audit.event")}</label>
        <select
          id="audit-event"
          class="select"
          value={props.filter.event}
          onChange={(event) => props.onChange({ event: event.currentTarget.value })}
        >
          <option value="">{t("audit.anyEvent")}</option>
          <For each={props.events}>{(event) => <option value={event}>{nameOf(event)}</option>}</For>
        </select>
      </div>
      <div class="field">
        <label for="audit-outcome">{t("audit.outcome")}</label>
        <select
          id="audit-outcome"
          class="select"
          value={props.filter.outcome}
          onChange={(event) => props.onChange({ outcome: event.currentTarget.value })}
        >
          <option value="">{t("audit.anyOutcome")}</option>
          <option value="ok">{t("audit.ok")}</option>
          <option value="refused">{t("audit.refused")}</option>
          <option value="failed">{t("audit.failedOutcome")}</option>
        </select>
      </div>
      <Field
        label={t("audit.actor")}
        value={props.filter.actor}
        onText={(actor) => props.onChange({ actor })}
        autocomplete="off"
        spellcheck={false}
      />
      <Field
        label={t("audit.text")}
        value={props.filter.text}
        onText={(text) => props.onChange({ text })}
        autocomplete="off"
        type="search"
      />
      <Field
        label={t("audit.from")}
        value={props.filter.from}
        onText={(from) => props.onChange({ from })}
        type="date"
      />
      <Field
        label={t("audit.to")}
        value={props.filter.until}
        onText={(until) => props.onChange({ until })}
        type="date"
      />
    </form>
  );
}
