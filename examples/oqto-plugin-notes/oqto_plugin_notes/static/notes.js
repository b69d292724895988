// Two elements: the notes of a session, and how many sessions have some.
// The page allows style sheets, but neither <style> nor style="…": a constructed sheet is the way.
const sheet = new CSSStyleSheet();
sheet.replaceSync(`
  :host { display: grid; gap: var(--gap-3); padding: var(--gap-4); }
  label { font-size: var(--size-s); color: var(--muted); }
  textarea {
    width: 100%; min-height: 12rem; box-sizing: border-box; padding: var(--gap-3); resize: vertical;
    border: 1px solid var(--line-strong); border-radius: var(--round); background: var(--bg); color: var(--text);
    font: inherit;
  }
  textarea:focus-visible, button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  .row { display: flex; flex-wrap: wrap; align-items: center; gap: var(--gap-3); }
  button {
    min-height: var(--target); padding: 0 var(--gap-4); border: 1px solid var(--line-strong);
    border-radius: var(--round); background: var(--surface); color: var(--text); font: inherit; cursor: pointer;
  }
  button:hover { background: var(--hover); }
  p { margin: 0; color: var(--muted); font-size: var(--size-s); }
`);

const PAUSE_MS = 600;

class Notes extends HTMLElement {
  #oqto;
  #sessionId = "";
  #timer;

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
    this.shadowRoot.innerHTML = `
      <label for="text">Only you see these notes.</label>
      <textarea id="text" maxlength="20000" placeholder="What to remember about this session"></textarea>
      <div class="row"><button type="button">Put into the message</button><p role="status"></p></div>`;
    this.text.addEventListener("input", () => this.#later());
    this.shadowRoot.querySelector("button").addEventListener("click", () => this.#suggest());
  }

  get text() {
    return this.shadowRoot.querySelector("textarea");
  }

  // Set before the element enters the page, and again whenever something has changed.
  set oqto(oqto) {
    this.#oqto = oqto;
    if (oqto.session && oqto.session.id !== this.#sessionId) {
      this.#sessionId = oqto.session.id;
      void this.#load();
    }
  }

  say(words) {
    this.shadowRoot.querySelector("p").textContent = words;
  }

  async #load() {
    try {
      this.text.value = (await this.#oqto.call("GET", `of/${this.#sessionId}`)).text;
      this.say("");
    } catch (problem) {
      this.say(`The notes are not available: ${problem.message}`);
    }
  }

  #later() {
    this.say("");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#save(), PAUSE_MS);
  }

  async #save() {
    try {
      await this.#oqto.call("PUT", `of/${this.#sessionId}`, { text: this.text.value });
      this.say("Saved");
    } catch (problem) {
      this.say(`Not saved: ${problem.message}`);
    }
  }

  async #suggest() {
    if (this.text.value.trim()) await this.#oqto.suggest(this.text.value);
  }
}

class Count extends HTMLElement {
  set oqto(oqto) {
    if (this.childNodes.length) return;
    this.textContent = "…";
    oqto.call("GET", "count").then(
      ({ count }) => (this.textContent = count === 1 ? "1 session has notes." : `${count} sessions have notes.`),
      (problem) => (this.textContent = problem.message),
    );
  }
}

customElements.define("oqto-notes", Notes);
customElements.define("oqto-notes-count", Count);
