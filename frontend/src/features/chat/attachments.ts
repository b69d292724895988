// Pictures on their way into a prompt: read, made smaller where that loses nothing a model would see.
import type { Image } from "../../api/types.gen";
import { t } from "../../i18n";

export const MOST_IMAGES = 8;
const LARGEST_EDGE = 2048;
const LARGEST_BYTES = 4 * 1024 * 1024;
const KINDS = ["image/png", "image/jpeg", "image/gif", "image/webp"];

export interface Attached extends Image {
  name: string;
}

export class NotAPicture extends Error {}

export function imageFiles(transfer: DataTransfer | null): File[] {
  return [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));
}

/** Raises NotAPicture with a sentence for the reader. */
export async function attach(file: File): Promise<Attached> {
  if (!KINDS.includes(file.type)) throw new NotAPicture(t("attach.kind", { name: file.name }));
  const blob = await fitted(file);
  if (blob.size > LARGEST_BYTES) throw new NotAPicture(t("attach.large", { name: file.name }));
  return { name: file.name, media_type: blob.type, data: await toBase64(blob) };
}

async function fitted(file: File): Promise<Blob> {
  if (file.type === "image/gif") return file;
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new NotAPicture(t("attach.broken", { name: file.name }));
  });
  const scale = LARGEST_EDGE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1 && file.size <= LARGEST_BYTES) return file;
  return redrawn(bitmap, Math.min(1, scale), file);
}

async function redrawn(bitmap: ImageBitmap, scale: number, file: File): Promise<Blob> {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const kind = file.type === "image/png" && file.size <= LARGEST_BYTES ? "image/png" : "image/jpeg";
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, kind, 0.9));
  return blob ?? file;
}

async function toBase64(blob: Blob): Promise<string> {
  const reader = new FileReader();
  const read = new Promise<string>((resolve, reject) => {
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
  });
  reader.readAsDataURL(blob);
  return (await read).split(",", 2)[1] ?? "";
}
