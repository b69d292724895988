import { createEffect, createSignal, For, type JSX, on, onCleanup, Show } from "solid-js";
import { createStore } from "solid-js/store";
import { api } from "../../api/client";
import { type ProblemError, toProblem } from "../../api/problem";
import type { AuditRecord } from "../../api/types.gen";
import { t } from "../../i18n";
import { go, route } from "../../state/route";
import { Given } from "../../ui/given";
import { ProblemBox } from "../../ui/problem";
import { ChainCard } from "./audit-chain";
import { type AuditFilter, FilterForm, NOTHING, toQuery } from "./audit-filter";
import { AuditRecords } from "./audit-records";
import "../../styles/audit.css";

const TYPING_MS = 250;
const FORMATS = ["csv", "json", "jsonl"] as const;

/** The audit log for admins: is it whole, what is in it, and out with it. */
export default function AuditPage(): JSX.Element {
  const [filter, setFilter] = createStore<AuditFilter>({ ...NOTHING, session: sessionOfRoute() });
  const found = createRecords(filter);
  createEffect(on(sessionOfRoute, (session) => setFilter({ session }), { defer: true }));
  return (
    <div class="page page-wide">
      <header class="stack-tight">
        <h1>{t("audit.title")}</h1>
        <p class="muted lead">{t("audit.lead")}</p>
      </header>
      <ChainCard />
      <FilterForm filter={filter} events={found.events()} onChange={setFilter} />
      <Show when={filter.session}>
        <p class="row-wrap">
          <span class="mono truncate">{t("audit.ofSession", { id: filter.session })}</span>
          <button type="button" class="btn btn-small" onClick={() => go("#/audit")}>
            {t("audit.allSessions")}
          </button>
        </p>
      </Show>
      <Given value={found.problem()}>
        {(problem) => (
          <ProblemBox title={t("audit.failed")} problem={problem()} onRetry={() => void found.load()} />
        )}
      </Given>
      <Show when={found.records().length > 0} fallback={<Nothing isLoading={found.isLoading()} />}>
        <p class="row-wrap small muted">
          {t("audit.export")}
          <For each={FORMATS}>
            {(format) => (
              <a href={`/api/admin/audit/export?format=${format}&${toQuery(filter)}`} download="">
                {format.toUpperCase()}
              </a>
            )}
          </For>
        </p>
        <AuditRecords records={found.records()} />
        <Show when={found.next() !== null}>
          <button
            type="button"
            class="btn"
            disabled={found.isLoading()}
            onClick={() => void found.load({ isMore: true })}
          >
            {found.isLoading() ? t("audit.loading") : t("audit.older")}
          </button>
        </Show>
      </Show>
    </div>
  );
}

function Nothing(props: { isLoading: boolean }): JSX.Element {
  return (
    <Show when={!props.isLoading} fallback={<div class="skeleton skeleton-tall" />}>
      <div class="card stack-tight">
        <strong>{t("audit.none")}</strong>
        <p class="muted">{t("audit.noneText")}</p>
      </div>
    </Show>
  );
}

function sessionOfRoute(): string {
  const here = route();
  return here.page === "audit" ? here.session : "";
}

/** The records that fit, page by page. Of answers that overtake one another, the last question's counts. */
function createRecords(filter: AuditFilter) {
  const [records, setRecords] = createSignal<AuditRecord[]>([]);
  const [events, setEvents] = createSignal<string[]>([]);
  const [next, setNext] = createSignal<number | null>(null);
  const [problem, setProblem] = createSignal<ProblemError | null>(null);
  const [isLoading, setLoading] = createSignal(true);
  let asked = 0;

  const load = async ({ isMore = false } = {}) => {
    const mine = ++asked;
    const query = toQuery(filter);
    if (isMore && next() !== null) query.set("before", String(next()));
    setLoading(true);
    try {
      const page = await api.audit(query);
      if (mine !== asked) return;
      setRecords(isMore ? [...records(), ...page.records] : page.records);
      setEvents(page.events);
      setNext(page.next);
      setProblem(null);
    } catch (reason) {
      if (mine === asked) setProblem(toProblem(reason));
    }
    if (mine === asked) setLoading(false);
  };

  let timer = 0;
  onCleanup(() => clearTimeout(timer));
  createEffect((isFirst: boolean) => {
    toQuery(filter);
    clearTimeout(timer);
    timer = window.setTimeout(() => void load(), isFirst ? 0 : TYPING_MS);
    return false;
  }, true);
  return { records, events, next, problem, isLoading, load };
}
