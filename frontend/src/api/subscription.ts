import type { ProblemError } from "./problem";
import type { Event } from "./types.gen";

export interface SubscriptionSink {
  /** Highest `seq` that the view holds; 0 for none. */
  after(): number;
  onEvents(events: Event[]): void;
  /** Forget the view: the conversation is told again from its start. */
  onReset(): void;
  /** The subscription stands; events after `last` happen now. */
  onLive?(last: number): void;
  onFailed?(problem: ProblemError): void;
}

export interface SubscribeReply {
  mode: "exact" | "snapshot";
  last: number;
  reset: boolean;
}

type Subscribe = (after: number) => Promise<unknown>;

/**
 * One followed session. Drops what was already taken, and asks again from the highest `seq` when an event is
 * missing: after the replay, and in exact mode from the start, the numbers have no hole.
 */
export class Subscription {
  private isAsking = false;
  private isActive = false;
  private epoch = 0;
  private early: Event[] = [];
  private holesUntil = 0;

  constructor(
    private readonly sink: SubscriptionSink,
    private readonly subscribe: Subscribe,
  ) {}

  connect(): void {
    const epoch = ++this.epoch;
    this.isAsking = true;
    this.early = [];
    this.subscribe(this.sink.after()).then(
      (reply) => epoch === this.epoch && this.accepted(reply as SubscribeReply),
      (problem: ProblemError) => epoch === this.epoch && this.refused(problem),
    );
  }

  disconnected(): void {
    this.epoch++;
    this.isAsking = false;
    this.isActive = false;
    this.early = [];
  }

  receive(event: Event): void {
    if (this.isAsking) this.early.push(event);
    else if (this.isActive) this.take(event);
  }

  private accepted(reply: SubscribeReply): void {
    this.isAsking = false;
    this.isActive = true;
    if (reply.reset) this.sink.onReset();
    this.holesUntil = reply.mode === "snapshot" ? reply.last : 0;
    this.sink.onLive?.(reply.last);
    const early = this.early;
    this.early = [];
    for (const event of early) this.receive(event);
  }

  private refused(problem: ProblemError): void {
    this.isAsking = false;
    this.sink.onFailed?.(problem);
  }

  private take(event: Event): void {
    if (event.event === "stream.resync_required") return this.resync();
    const seq = event.seq ?? 0;
    const after = this.sink.after();
    if (seq && seq <= after) return;
    if (seq > after + 1 && seq > this.holesUntil && after >= this.holesUntil) return this.connect();
    this.sink.onEvents([event]);
  }

  private resync(): void {
    this.sink.onReset();
    // The snapshot that follows on this subscription names no end, so holes are its right until the next reply.
    this.holesUntil = Number.MAX_SAFE_INTEGER;
  }
}
