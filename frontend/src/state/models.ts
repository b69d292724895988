import type { Model, ModelSource } from "../api/rest";
import { load, save } from "./storage";

export interface PickedModel extends Model {
  key: string;
  provider: string;
  source: string;
  isDemo: boolean;
}

export const modelKey = (provider: string, id: string) => `${provider}/${id}`;

export function allModels(sources: ModelSource[]): PickedModel[] {
  return sources.flatMap((source) =>
    source.models.map((model) => ({
      ...model,
      key: modelKey(source.name, model.id),
      provider: source.name,
      source: source.title || source.name,
      isDemo: source.is_demo,
    })),
  );
}

const KEY = "oqto.model";
export const rememberedModel = () => load(KEY) ?? "";
export const rememberModel = (key: string) => save(KEY, key);
