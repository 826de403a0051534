//! What a shader does, read off naga's IR: in which order it polls, moves and notifies, and that its loops end.

use std::collections::HashSet;

use naga::{
    AddressSpace, Arena, Barrier, BinaryOperator, Block, Expression, Function, GlobalVariable, Handle, Literal,
    LocalVariable, Module, Statement, StorageAccess,
};

/// What the argument for fused dispatch is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A signal is read.
    Poll,
    /// The workgroup agrees on something.
    Verdict,
    /// All invocations order their accesses of storage buffers.
    Barrier,
    /// The payload is read or written.
    Payload,
    /// A signal is increased.
    Notify,
}

/// Everything that the entry point does, calls followed, in program order.
pub(crate) fn events(module: &Module) -> Vec<Event> {
    let mut events = Vec::new();
    let entry = &module.entry_points[0].function;
    of_block(module, entry, &entry.body, &mut events);
    events
}

fn of_block(module: &Module, function: &Function, block: &Block, events: &mut Vec<Event>) {
    let global = |pointer| {
        let name =
            root(&function.expressions, pointer).ok().and_then(|global| module.global_variables[global].name.clone());
        name.unwrap_or_default()
    };
    let access = |pointer, of_signal, events: &mut Vec<Event>| match global(pointer).as_str() {
        "payload" => events.push(Event::Payload),
        "signals" => events.push(of_signal),
        _ => {}
    };
    for statement in block {
        match statement {
            Statement::Emit(range) => {
                for expression in range.clone() {
                    if let Expression::Load { pointer } = function.expressions[expression] {
                        access(pointer, Event::Poll, events);
                    }
                }
            }
            Statement::Store { pointer, .. } | Statement::Atomic { pointer, .. } => {
                access(*pointer, Event::Notify, events)
            }
            Statement::ControlBarrier(flags) if flags.contains(Barrier::STORAGE) => events.push(Event::Barrier),
            Statement::WorkGroupUniformLoad { .. } => events.push(Event::Verdict),
            Statement::Call { function: callee, .. } => {
                let callee = &module.functions[*callee];
                of_block(module, callee, &callee.body, events);
            }
            _ => {}
        }
        blocks(statement).into_iter().for_each(|block| of_block(module, function, block, events));
    }
}

/// The order that `shaders/README.md` argues from: poll, verdict, barrier, payload, barrier, notify.
pub(crate) fn ordered(events: &[Event]) -> Result<(), String> {
    for (i, event) in events.iter().enumerate() {
        let before = &events[..i];
        match event {
            Event::Payload => {
                let Some(poll) = before.iter().rposition(|&event| event == Event::Poll) else {
                    return Err("payload without a wait before".to_owned());
                };
                let verdict = before[poll..].iter().position(|&event| event == Event::Verdict);
                let Some(verdict) = verdict else { return Err("no verdict after a poll".to_owned()) };
                if !before[poll + verdict..].contains(&Event::Barrier) {
                    return Err("no acquire between a wait's verdict and the payload".to_owned());
                }
            }
            Event::Notify => {
                let Some(payload) = before.iter().rposition(|&event| event == Event::Payload) else {
                    return Err("notify without payload before".to_owned());
                };
                if !before[payload..].contains(&Event::Barrier) {
                    return Err("no release between the payload and a notify".to_owned());
                }
            }
            _ => {}
        }
    }
    let once = |wanted| events.iter().filter(|&&event| event == wanted).count() == 1;
    if once(Event::Poll) && once(Event::Notify) { Ok(()) } else { Err("not one poll and one notify".to_owned()) }
}

/// Every loop counts a variable, which nothing else changes, up to a number that stays the same.
pub(crate) fn loops_end(module: &Module) -> Result<(), String> {
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    for function in entries.chain(module.functions.iter().map(|(_, function)| function)) {
        each_loop(&function.body, &mut |body, continuing, breaks_if| {
            let name = function.name.as_deref().unwrap_or("the entry point");
            ends(module, function, body, continuing, breaks_if).map_err(|why| format!("a loop of {name} {why}"))
        })?;
    }
    Ok(())
}

type OnLoop<'a> = dyn FnMut(&Block, &Block, bool) -> Result<(), String> + 'a;

fn each_loop(block: &Block, visit: &mut OnLoop<'_>) -> Result<(), String> {
    for statement in block {
        if let Statement::Loop { body, continuing, break_if } = statement {
            visit(body, continuing, break_if.is_some())?;
        }
        for block in blocks(statement) {
            each_loop(block, visit)?;
        }
    }
    Ok(())
}

fn ends(
    module: &Module,
    function: &Function,
    body: &Block,
    continuing: &Block,
    breaks_if: bool,
) -> Result<(), &'static str> {
    let expressions = &function.expressions;
    if breaks_if {
        return Err("ends by a condition of its own");
    }
    // naga's form of `for (; counter < bound; counter += step)`.
    let first = body.iter().find(|statement| !matches!(statement, Statement::Emit(_)));
    let Some(Statement::If { condition, accept, reject }) = first else {
        return Err("does not begin with its condition");
    };
    if !accept.is_empty() || !matches!(reject.iter().next(), Some(Statement::Break)) {
        return Err("does not begin with its condition");
    }
    let Expression::Binary { op: BinaryOperator::Less, left, right: bound } = expressions[*condition] else {
        return Err("does not count up to a bound");
    };
    let counter = |expression| match expressions[expression] {
        Expression::Load { pointer } => local(expressions, pointer),
        _ => None,
    };
    let Some(counted) = counter(left) else { return Err("does not count a variable") };

    let mut changed = Changed::default();
    changed.by(function, body);
    if changed.variables.contains(&counted) {
        return Err("changes its counter in its body");
    }
    changed.by(function, continuing);
    let fixed = |expression| is_fixed(module, function, expression, &changed);
    let stores: Vec<_> = continuing
        .iter()
        .filter_map(|statement| match statement {
            Statement::Store { pointer, value } if local(expressions, *pointer) == Some(counted) => Some(*value),
            _ => None,
        })
        .collect();
    let [value] = stores[..] else { return Err("does not step once") };
    let Expression::Binary { op: BinaryOperator::Add, left, right: step } = expressions[value] else {
        return Err("does not step up");
    };
    let zero = matches!(expressions[step], Expression::Literal(Literal::U32(0)) | Expression::ZeroValue(_));
    match () {
        () if counter(left) != Some(counted) || zero || !fixed(step) => Err("does not step by a number"),
        () if !fixed(bound) => Err("changes its bound"),
        () => Ok(()),
    }
}

/// What a loop changes, or computes anew in every turn.
#[derive(Default)]
struct Changed {
    variables: HashSet<Handle<LocalVariable>>,
    computed: HashSet<Handle<Expression>>,
}

impl Changed {
    fn by(&mut self, function: &Function, block: &Block) {
        for statement in block {
            match statement {
                Statement::Emit(range) => self.computed.extend(range.clone()),
                Statement::Store { pointer, .. } => self.variables.extend(local(&function.expressions, *pointer)),
                Statement::Call { arguments, result, .. } => {
                    let pointers = arguments.iter().filter_map(|&argument| local(&function.expressions, argument));
                    self.variables.extend(pointers);
                    self.computed.extend(result);
                }
                Statement::Atomic { result, .. } => self.computed.extend(result),
                Statement::WorkGroupUniformLoad { result, .. } => {
                    self.computed.insert(*result);
                }
                _ => {}
            }
            blocks(statement).into_iter().for_each(|block| self.by(function, block));
        }
    }
}

/// Whether an expression has the same value in every turn.
fn is_fixed(module: &Module, function: &Function, expression: Handle<Expression>, changed: &Changed) -> bool {
    let fixed = |expression| is_fixed(module, function, expression, changed);
    match function.expressions[expression] {
        Expression::Literal(_) | Expression::Constant(_) | Expression::Override(_) => true,
        Expression::ZeroValue(_) | Expression::FunctionArgument(_) => true,
        _ if !changed.computed.contains(&expression) => {
            !matches!(function.expressions[expression], Expression::LocalVariable(_))
        }
        Expression::Load { pointer } => {
            match (root(&function.expressions, pointer), local(&function.expressions, pointer)) {
                (Ok(global), _) => matches!(
                    module.global_variables[global].space,
                    AddressSpace::Uniform | AddressSpace::Storage { access: StorageAccess::LOAD }
                ),
                (_, Some(local)) => !changed.variables.contains(&local),
                _ => false,
            }
        }
        Expression::AccessIndex { base, .. } => fixed(base),
        Expression::Binary { left, right, .. } => fixed(left) && fixed(right),
        _ => false,
    }
}

/// The variable that a pointer is into.
fn root(expressions: &Arena<Expression>, pointer: Handle<Expression>) -> Result<Handle<GlobalVariable>, &Expression> {
    match &expressions[pointer] {
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => root(expressions, *base),
        Expression::GlobalVariable(global) => Ok(*global),
        other => Err(other),
    }
}

fn local(expressions: &Arena<Expression>, pointer: Handle<Expression>) -> Option<Handle<LocalVariable>> {
    match root(expressions, pointer) {
        Err(Expression::LocalVariable(local)) => Some(*local),
        _ => None,
    }
}

fn blocks(statement: &Statement) -> Vec<&Block> {
    match statement {
        Statement::Block(block) => vec![block],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        Statement::Switch { cases, .. } => cases.iter().map(|case| &case.body).collect(),
        _ => Vec::new(),
    }
}
