// Package contraflow runs a graph of stages joined by bounded, typed edges.
//
// # Usage
//
// A stage is a plain function func(ctx, I) (O, error); state lives in its receiver. Free generic functions join
// stages, so a graph that is wired wrongly does not compile:
//
//	g := contraflow.New("cmc")
//	plans := contraflow.Source(g, "sampler", sampler.Plans())
//	crops := contraflow.Step(plans, "decode", decode.Run, contraflow.Workers(4))
//	views := contraflow.Step(crops, "views", views.Run)
//	contraflow.Each(views, "train", train)
//	err := g.Run(ctx)
//
// Building starts nothing. Run checks the graph, owns every goroutine, and waits for all of them.
//
// # Order, ownership and concurrency
//
// Every stage gives its output in the order of its input, whatever its number of workers. An item belongs to the
// stage that received it last. Edges hold two items unless Depth says otherwise, so a slow stage slows what comes
// before it and memory stays bounded. Overhead is below two microseconds an item and stage: let items be batches.
//
// # Errors and the end of a stream
//
// The first error, or panic, ends the run and carries the stage's name (StageError). The run is cancelled before the
// failed stage closes its edge, so nothing downstream takes a failed stream for a complete one. Stop ends the
// sources and lets the graph drain. Cancelling the context ends it as soon as the calls under way return, and those for
// items that wait in a stage's input already: a function that takes long should look at its context.
//
// # Feedback
//
// A Loop is a declared back edge, such as "weights ready". A stage that waits on it is booked as waiting, not as busy, and waits
// for nobody who has ended: Recv then gives ErrEnded.
//
// # Statistics
//
// Every stage and edge counts always: Stats tells how long each was busy, starved, blocked and waiting, and Verdict
// names the bottleneck. Table prints them all.
//
// # go-streams
//
// From, Through and To take any source, flow or sink of github.com/reugn/go-streams, and Flow is one of our stages as
// a go-streams flow.
package contraflow
