import { For, type JSX, Show } from "solid-js";
import { type UsageRow, usd } from "../../api/budget";
import { money, t } from "../../i18n";
import { lastDays } from "./days";

const SHOWN = 14;

/** A bar for each of the last days; a day without calls is there, too. */
export function DaysCard(props: { rows: UsageRow[]; now: number }): JSX.Element {
  const days = () => lastDays(props.rows, SHOWN, props.now);
  const most = () => Math.max(1, ...days().map((day) => day.cost_nusd));
  const words = (day: UsageRow) =>
    t("budget.dayOf", { day: day.name, cost: money(usd(day.cost_nusd)), count: day.calls });
  return (
    <section class="card stack" aria-labelledby="budget-days">
      <div class="row-wrap">
        <h2 id="budget-days" class="grow">
          {t("budget.days")}
        </h2>
        <a class="btn btn-small" href="/api/plugins/eavs/mine/usage.csv?by=day" download="usage.csv">
          {t("budget.export")}
        </a>
      </div>
      <ul class="budget-days">
        <For each={days()}>
          {(day) => (
            <li title={words(day)}>
              <span class="visually-hidden">{words(day)}</span>
              <span class="budget-day" style={{ height: `${(day.cost_nusd / most()) * 100}%` }} />
              <span class="small muted" aria-hidden="true">
                {day.name.slice(-2)}
              </span>
            </li>
          )}
        </For>
      </ul>
    </section>
  );
}

const count = (tokens: number) =>
  new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 }).format(tokens);

/** What each model cost, the dearest first. */
export function ModelsCard(props: { rows: UsageRow[] }): JSX.Element {
  const sorted = () => [...props.rows].sort((one, other) => other.cost_nusd - one.cost_nusd);
  return (
    <section class="card stack" aria-labelledby="budget-models">
      <h2 id="budget-models">{t("budget.models")}</h2>
      <Show when={props.rows.length} fallback={<p class="muted">{t("budget.nothing")}</p>}>
        <table class="budget-table">
          <thead>
            <tr>
              <th scope="col">{t("budget.model")}</th>
              <th scope="col">{t("budget.cost")}</th>
              <th scope="col">{t("budget.tokensIn")}</th>
              <th scope="col">{t("budget.tokensOut")}</th>
              <th scope="col">{t("budget.count")}</th>
            </tr>
          </thead>
          <tbody>
            <For each={sorted()}>
              {(row) => (
                <tr>
                  <th scope="row">{row.name}</th>
                  <td>{money(usd(row.cost_nusd))}</td>
                  <td>{count(row.input + row.cache_read + row.cache_write)}</td>
                  <td>{count(row.output)}</td>
                  <td>{row.calls}</td>
                </tr>
              )}
            </For>
          </tbody>
        </table>
      </Show>
    </section>
  );
}
