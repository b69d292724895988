// The browser's own store. Private windows and full disks refuse; then things live as long as the tab.
const fallback = new Map<string, string>();

export function load(key: string): string | null {
  try {
    return localStorage.getItem(key) ?? fallback.get(key) ?? null;
  } catch {
    return fallback.get(key) ?? null;
  }
}

/** False when it is kept in this tab only. */
export function save(key: string, value: string | null): boolean {
  fallback.delete(key);
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
    return true;
  } catch {
    if (value !== null) fallback.set(key, value);
    return false;
  }
}

export function loadJson<T>(key: string, otherwise: T): T {
  try {
    const text = load(key);
    return text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    return otherwise;
  }
}
