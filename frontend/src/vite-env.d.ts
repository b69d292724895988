interface ImportMetaEnv {
  /** Where the control plane listens; the development server forwards `/api` and `/health` to it. */
  readonly VITE_CONTROL_PLANE_URL?: string;
  /** `1`: print every WebSocket frame. */
  readonly VITE_DEBUG_WS?: string;
  /** `1`: print every agent event after it was taken. */
  readonly VITE_DEBUG_PI?: string;
}

interface ImportMeta {
  readonly env: ImportMetaEnv;
}
