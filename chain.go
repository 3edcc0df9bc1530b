package contraflow

import "context"

// Chained makes a Step with one worker run on the goroutine of the stage before it, as Flink's operator chaining does: an item is
// handed over by a call, no goroutine is woken. It is for stages that take turns anyway, as those between the ends of a feedback
// edge do, while something faster than a wake-up waits for them. The stage before counts as blocked meanwhile, and its Depth means
// nothing: the edge holds no item.
func Chained() StageOption {
	return func(s *settings) { s.chained, s.given = true, s.given|takesChained }
}

// chain makes n run on the goroutine that sends to in, and returns what is left for its own: the end of the stream.
func chain[O any](n *node, in, out *edge, finish func(context.Context) error, apply applyFunc[O]) func(ctx context.Context) error {
	if n.most > 1 {
		n.g.mistake(n.site, "step %q: Chained runs it on one goroutine: leave Workers out", n.name)
	}
	if from := in.from; from.kind == "from" || from.kind == "through" {
		n.g.mistake(n.site, "step %q: Chained behind %q, whose items a foreign flow sends: leave it out", n.name, from.name)
	}
	in.ch = make(chan any) // nothing ever waits in it
	var own context.Context
	seq := int64(0)
	in.inline = func(ctx context.Context, v any) (err error) {
		defer func() { err = n.settle(recover(), err) }()
		if own == nil {
			own = n.as(ctx, 0)
		}
		o, err := apply(own, 0, seq, blocked, v)
		seq++
		if err == nil {
			err = out.send(own, o)
		}
		n.ledger.rest(n.g.now(), starved)
		return err
	}
	return func(ctx context.Context) (err error) {
		defer close(out.ch)
		defer func() { err = n.settle(recover(), err) }()
		n.ledger.rest(n.g.now(), starved)
		<-in.ch // closed by the sender, which may be in inline until then, also when the run is over
		if ctx.Err() != nil {
			return errDone
		}
		return n.finish(ctx, finish)
	}
}
