import { createSignal, type JSX } from "solid-js";
import { api } from "../../api/client";
import type { Session } from "../../api/rest";
import { t } from "../../i18n";
import { useApp } from "../../state/app";
import { createAction } from "../../ui/action";
import { Dialog } from "../../ui/dialog";
import { Field } from "../../ui/field";

export function RenameDialog(props: { session: Session; onClose(): void }): JSX.Element {
  const { list } = useApp();
  const [title, setTitle] = createSignal(props.session.title);
  const action = createAction(async () => {
    list.put(await api.renameSession(props.session.id, title().trim()));
    props.onClose();
  });
  return (
    <Dialog title={t("rename.title")} onClose={props.onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <Field
          label={t("rename.label")}
          maxlength={200}
          autofocus
          value={title()}
          onText={setTitle}
          error={action.problem()?.detail}
        />
        <div class="dialog-actions">
          <button type="button" class="btn" onClick={() => props.onClose()}>
            {t("ui.cancel")}
          </button>
          <button type="submit" class="btn btn-primary" disabled={action.isBusy() || !title().trim()}>
            {t("ui.save")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
