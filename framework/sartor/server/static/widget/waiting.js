/* While a person has the conversation: what they say is looked for, the more seldom the longer nothing comes. */

class Waiting {
  stop = null;
  shown = new Set(); // the ids of turns that are on the screen

  constructor(talk, heard) {
    Object.assign(this, { talk, heard });
  }

  end() {
    this.stop?.abort();
    this.stop = null;
    this.shown.clear();
    this.talk.screen.person();
  }

  /** Until the bot has the conversation again. `name`: who spoke already. */
  async begin(conversation, name = "") {
    this.seconds = Waiting.first;
    if (this.stop) return;
    const { signal } = (this.stop = new AbortController());
    const { api, screen } = this.talk;
    let last = "";
    screen.person(name);
    try {
      for (let person = true; person; ) {
        await pause(this.seconds, signal);
        this.seconds = Math.min(this.seconds * 1.25, 15);
        const page = await api.turns(conversation, last).catch(() => null);
        if (signal.aborted) return;
        if (!page || this.talk.live) continue; // what runs is shown by its own stream, and looked at again
        ({ last, person } = page);
        for (const turn of page.turns.filter(({ id }) => !this.shown.has(id))) {
          this.shown.add(turn.id);
          if (turn.author) screen.person(turn.author);
          if (turn.author) this.seconds = Waiting.first;
          this.heard(turn);
        }
      }
      this.stop = null;
      screen.person();
    } catch (fault) {
      if (!signal.aborted) throw fault; // else it was ended
    }
  }
}
Waiting.first = 2;
