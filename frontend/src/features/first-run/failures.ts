import type { ProblemError } from "../../api/problem";
import { t } from "../../i18n";

/** Why a model source was not taken, in a few words; the server's own sentence stands below it. */
export function failureTitle(problem: ProblemError): string {
  if (problem.code === "no-models") return t("source.failedModels");
  if (problem.code === "unreachable") return t("source.failedOffline");
  const words = problem.detail.toLowerCase();
  if (/credit|quota|billing|402/.test(words)) return t("source.failedCredit");
  if (/401|403|not accept|wrong key|invalid.*key|refused the key|rejected/.test(words))
    return t("source.failedKey");
  if (/connect|reach|resolve|timed? ?out|network|dns/.test(words)) return t("source.failedReach");
  if (/404|base url|address|not found/.test(words)) return t("source.failedAddress");
  return t("source.failed");
}
