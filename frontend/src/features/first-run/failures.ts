import type { ProblemError } from "../../api/problem";
import { type Key, t } from "../../i18n";

const TITLES: Record<string, Key> = {
  "no-models": "source.failedModels",
  unreachable: "source.failedOffline",
  "provider-key-refused": "source.failedKey",
  "provider-no-credit": "source.failedCredit",
  "provider-unreachable": "source.failedReach",
  "provider-not-an-api": "source.failedAddress",
  "provider-failing": "source.failedProvider",
  "provider-models": "source.failedModels",
  "model-unpriced": "source.failedPrice",
};

/** Why a model source was not taken, in a few words; the server's own sentence stands below it. */
export const failureTitle = (problem: ProblemError): string => t(TITLES[problem.code] ?? "source.failed");
