//! `wgoctl set`: what torrents have of their own: priority, order of pieces, seeding goals, limits; and lifting bans.
use std::str::FromStr;

use wgo_api::ApiClient;
use wgo_api::goals::{AfterGoal, Choice, check_ratio};
use wgo_api::params::SetParams;
use wgo_api::torrent::Priority;
use wgo_api::units::{Period, Rate};

use crate::act::report;
use crate::context::Context;
use crate::failure::Failure;

/// Torrents, and what to set of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A seeding goal is a value, none, or default: as [seeding] of the configuration says. The first that
is reached counts. A torrent that is started again after that goes on until its goals change. When
anything is wrong, an ID included, nothing is changed.

Examples:
  wgoctl set 3fa9 --priority high --sequential on
  wgoctl set --all --ratio 2 --seed-time '7 d'
  wgoctl set 3fa9 --ratio none               # seed for ever, as far as the ratio goes
  wgoctl set 3fa9 --ratio default --goal-action remove
  wgoctl set 3fa9 77c2 --up '500 KB/s' --down 0
  wgoctl set 3fa9 --unban 192.0.2.7")]
pub struct Args {
    /// Info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All torrents
    #[arg(long)]
    all: bool,
    /// How it ranks in the queue
    #[arg(long, value_enum, value_name = "HOW")]
    priority: Option<PriorityArg>,
    /// Fetch pieces in order: on or off
    #[arg(long, value_enum, value_name = "on|off")]
    sequential: Option<Switch>,
    /// Seeding goal: uploaded bytes over the torrent's size
    #[arg(long, value_name = "X|none|default", allow_negative_numbers = true)]
    ratio: Option<Goal<RatioArg>>,
    /// Seeding goal: time spent seeding, like "7 d"
    #[arg(long, value_name = "TIME|none|default")]
    seed_time: Option<Goal<Period>>,
    /// Seeding goal: time spent seeding without an upload
    #[arg(long, value_name = "TIME|none|default")]
    seed_idle: Option<Goal<Period>>,
    /// What happens at a seeding goal
    #[arg(long, value_enum, value_name = "WHAT")]
    goal_action: Option<ActionArg>,
    /// Upload limit, like "2 MB/s"; a bare number is in KB/s, 0 is unlimited
    #[arg(long, value_name = "RATE")]
    up: Option<Rate>,
    /// Download limit
    #[arg(long, value_name = "RATE")]
    down: Option<Rate>,
    /// Lift the ban of an address that `show --peers` lists, or all bans
    #[arg(long, value_name = "ADDRESS|all")]
    unban: Option<String>,
}

/// `--priority`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum PriorityArg {
    /// Before all others
    High,
    /// The default
    Normal,
    /// After all others
    Low,
}

impl From<PriorityArg> for Priority {
    fn from(priority: PriorityArg) -> Priority {
        match priority {
            PriorityArg::High => Priority::High,
            PriorityArg::Normal => Priority::Normal,
            PriorityArg::Low => Priority::Low,
        }
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

/// `--goal-action`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum ActionArg {
    /// It stops
    Stop,
    /// It is removed; its files stay
    Remove,
    /// It is removed with its files
    RemoveWithFiles,
    /// Nothing: it goes on
    Keep,
    /// As the configuration says
    Default,
}

impl ActionArg {
    fn choice(self) -> Choice<AfterGoal> {
        Choice::Own(match self {
            ActionArg::Stop => AfterGoal::Stop,
            ActionArg::Remove => AfterGoal::Remove,
            ActionArg::RemoveWithFiles => AfterGoal::RemoveWithFiles,
            ActionArg::Keep => AfterGoal::Keep,
            ActionArg::Default => return Choice::DEFAULT,
        })
    }
}

/// A ratio as a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RatioArg(pub(crate) f64);

impl FromStr for RatioArg {
    type Err = String;

    fn from_str(text: &str) -> Result<RatioArg, String> {
        let number = text.parse().map_err(|_| "a ratio is a number such as 1.5".to_owned())?;
        check_ratio(number).map(RatioArg).map_err(|error| error.message)
    }
}

/// A goal's value, none, or the configuration's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal<T> {
    Default,
    None,
    Value(T),
}

impl<T: FromStr> FromStr for Goal<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Goal<T>, T::Err> {
        match text {
            "default" => Ok(Goal::Default),
            "none" => Ok(Goal::None),
            value => value.parse().map(Goal::Value),
        }
    }
}

impl<T> Goal<T> {
    /// As the API takes it, where 0 is none.
    fn choice<N: Default>(self, number: impl FnOnce(T) -> N) -> Choice<N> {
        match self {
            Goal::Default => Choice::DEFAULT,
            Goal::None => Choice::Own(N::default()),
            Goal::Value(value) => Choice::Own(number(value)),
        }
    }

    /// The same where a torrent is new: what is not its own is the configuration's.
    pub(crate) fn own<N: Default>(self, number: impl FnOnce(T) -> N) -> Option<N> {
        self.choice(number).own()
    }
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let params = SetParams {
        ids: args.ids,
        all: args.all,
        priority: args.priority.map(Priority::from),
        sequential: args.sequential.map(|switch| switch == Switch::On),
        ratio: args.ratio.map(|goal| goal.choice(|ratio| ratio.0)),
        seed_time_secs: args.seed_time.map(|goal| goal.choice(|time| time.0)),
        seed_idle_secs: args.seed_idle.map(|goal| goal.choice(|time| time.0)),
        goal_action: args.goal_action.map(ActionArg::choice),
        up: args.up.map(|rate| rate.0),
        down: args.down.map(|rate| rate.0),
        unban: args.unban,
    };
    if let Err(error) = params.check() {
        let set = "--priority, --sequential, --ratio, --seed-time, --seed-idle, --goal-action, --up, --down or --unban";
        // Its words are for programs.
        let nothing = !params.sets_goals() && params.unban.is_none();
        let why = if nothing { format!("nothing to set: give {set}") } else { error.message };
        return Err(Failure::Usage(why));
    }
    let result = context.client.set(params).await?;
    report(context, &result, "Set:")
}
