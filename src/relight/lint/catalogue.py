"""Names from outside the project, and the rules that they break in a workflow. Data, and how it is looked up.

A call breaks the rule of the longest prefix of its dotted name that stands here: `threading` covers all of the module,
`random.Random` takes something out of `random` again. Methods stand below the class, as `pathlib.Path.read_text`.
"""

from __future__ import annotations

from collections.abc import Iterator

from relight.lint.rules import CLOCK, ENVIRONMENT, FILE, NETWORK, PROCESS, RANDOM, SLEEP, THREAD, UUID, Rule

__all__ = ("is_class", "made_by", "rule_of_call", "rule_of_read")


_LOOP = "asyncio.AbstractEventLoop"


_CHAT_MODEL = "langchain_core.language_models.BaseChatModel"

_CHAT_MODELS = """
langchain.chat_models.init_chat_model
langchain_openai: ChatOpenAI AzureChatOpenAI
langchain_anthropic.ChatAnthropic langchain_mistralai.ChatMistralAI langchain_groq.ChatGroq langchain_ollama.ChatOllama
langchain_google_genai.ChatGoogleGenerativeAI langchain_google_vertexai.ChatVertexAI
langchain_aws: ChatBedrock ChatBedrockConverse
"""


def _names(table: str) -> Iterator[str]:
    """Yield the names of a table: `time: sleep` is `time.sleep`, and a line without a colon has whole names."""
    for line in table.strip().splitlines():
        prefix, colon, names = line.rpartition(": ")
        yield from (f"{prefix.strip()}.{name}" if colon else name for name in names.split())


_CLOCKS = """
time: time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns thread_time
time: thread_time_ns clock_gettime clock_gettime_ns localtime gmtime ctime asctime strftime
datetime.datetime: now utcnow today
datetime.date: today
django.utils.timezone: now localdate localtime
pendulum: now today tomorrow yesterday
arrow: now utcnow
pandas.Timestamp: now utcnow today
"""

_CHANCE = "random secrets os.urandom os.getrandom numpy.random"

_SEEDED = """
random.Random secrets.compare_digest
numpy.random: Generator RandomState default_rng
"""

_NETWORKS = f"""
urllib.request urllib3 http.client http.server socketserver xmlrpc ssl.get_server_certificate webbrowser
smtplib ftplib imaplib poplib telnetlib nntplib
socket: socket socketpair create_connection create_server getaddrinfo getnameinfo fromfd gethostbyname
socket: gethostbyname_ex gethostbyaddr
requests: get post put patch delete head options request session Session
httpx: get post put patch delete head options request stream Client AsyncClient
aiohttp: request ClientSession
websockets: connect serve
grpc: insecure_channel secure_channel aio
boto3 botocore aiobotocore google.cloud azure.storage paramiko asyncssh
openai: OpenAI AsyncOpenAI AzureOpenAI AsyncAzureOpenAI chat completions responses embeddings images audio moderations
anthropic: Anthropic AsyncAnthropic AnthropicBedrock AsyncAnthropicBedrock AnthropicVertex AsyncAnthropicVertex
google.genai.Client groq.Groq groq.AsyncGroq mistralai.Mistral cohere.Client cohere.ClientV2
cohere: AsyncClient AsyncClientV2
ollama: chat generate embed embeddings pull push list show Client AsyncClient
litellm: completion acompletion responses aresponses embedding aembedding text_completion atext_completion
litellm: image_generation aimage_generation transcription atranscription
pydantic_ai.Agent: run run_sync run_stream run_stream_sync iter
agents.Runner: run run_sync run_streamed
{_CHAT_MODEL}: invoke ainvoke stream astream batch abatch generate agenerate
nats: connect NATS
redis: Redis StrictRedis from_url asyncio
psycopg: connect Connection AsyncConnection
asyncpg: connect create_pool
psycopg2.connect psycopg_pool pymysql.connect aiomysql pymongo.MongoClient motor
sqlalchemy: create_engine Engine
sqlalchemy.orm: Session sessionmaker
sqlalchemy.ext.asyncio: create_async_engine AsyncEngine AsyncSession async_sessionmaker
asyncio: open_connection open_unix_connection start_server start_unix_server
anyio: connect_tcp connect_unix create_tcp_listener create_udp_socket getaddrinfo getnameinfo
{_LOOP}: getaddrinfo getnameinfo create_connection create_server create_unix_connection create_unix_server
{_LOOP}: create_datagram_endpoint connect_accepted_socket start_tls sendfile connect_read_pipe connect_write_pipe
{_LOOP}: add_reader remove_reader add_writer remove_writer sock_recv sock_recv_into sock_recvfrom
{_LOOP}: sock_recvfrom_into sock_sendall sock_sendto sock_connect sock_accept sock_sendfile
relight.Relight
"""

_THREADS = f"""
threading _thread concurrent.futures queue
asyncio: to_thread run_coroutine_threadsafe
anyio: to_thread from_thread
asgiref.sync.sync_to_async starlette.concurrency.run_in_threadpool
{_LOOP}: run_in_executor set_default_executor call_soon_threadsafe
"""

_PROCESSES = f"""
subprocess multiprocessing pty concurrent.futures.ProcessPoolExecutor
signal: signal alarm raise_signal
os: system popen fork forkpty kill killpg abort _exit posix_spawn posix_spawnp startfile nice wait waitpid
os: execl execle execlp execlpe execv execve execvp execvpe
os: spawnl spawnle spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe
asyncio: create_subprocess_exec create_subprocess_shell
anyio: run_process open_process to_process open_signal_receiver
{_LOOP}: subprocess_shell subprocess_exec add_signal_handler remove_signal_handler
"""

_FILES = """
builtins: open input
io: open FileIO
codecs.open gzip.open bz2.open lzma.open tarfile.open zipfile.ZipFile shelve.open dbm.open mmap.mmap
sqlite3 aiosqlite shutil tempfile glob fcntl linecache fileinput aiofiles anyio.open_file
os: open close read write fdopen listdir scandir walk fwalk stat lstat fstat access remove unlink rename renames
os: replace mkdir makedirs rmdir removedirs link symlink readlink truncate ftruncate chmod chown utime mkfifo pipe
os: fsync sync statvfs
os.path: exists lexists isfile isdir islink ismount getsize getmtime getatime getctime realpath samefile
pathlib.Path: read_text read_bytes write_text write_bytes open exists is_file is_dir is_symlink is_mount is_socket
pathlib.Path: is_fifo is_block_device is_char_device is_junction stat lstat owner group iterdir glob rglob walk mkdir
pathlib.Path: rmdir touch unlink rename replace chmod lchmod symlink_to hardlink_to readlink resolve samefile copy
pathlib.Path: copy_into move move_into
"""

_ENVIRONMENTS = """
os: getenv getenvb putenv unsetenv getpid getppid getcwd getcwdb chdir getlogin getuid getgid uname cpu_count
os: process_cpu_count getloadavg times
socket: gethostname getfqdn
builtins: id hash
platform getpass resource gc tracemalloc locale.getlocale locale.setlocale
pathlib.Path: cwd home expanduser absolute
os.path: expanduser expandvars abspath
"""

_CALLS: dict[str, Rule | None] = {
    name: rule
    for rule, table in (
        (CLOCK, _CLOCKS),
        (SLEEP, "time.sleep"),
        (RANDOM, _CHANCE),
        (None, _SEEDED),
        (UUID, "uuid: uuid1 uuid4 uuid6 uuid7 uuid8 getnode"),
        (NETWORK, _NETWORKS),
        (THREAD, _THREADS),
        (PROCESS, _PROCESSES),
        (FILE, _FILES),
        (ENVIRONMENT, _ENVIRONMENTS),
    )
    for name in _names(table)
}

_READS = {
    **dict.fromkeys(("os.environ", "os.environb", "sys.argv", "sys.path", "sys.modules"), ENVIRONMENT),
    "sys.stdin": FILE,
}

# So many positional arguments say what the answer is; with fewer it is the clock's, or chance's.
_PURE_FROM = {
    "time.localtime": (1, CLOCK),
    "time.gmtime": (1, CLOCK),
    "time.ctime": (1, CLOCK),
    "time.asctime": (1, CLOCK),
    "time.strftime": (2, CLOCK),
    "random.Random": (1, RANDOM),
    "numpy.random.default_rng": (1, RANDOM),
    "numpy.random.RandomState": (1, RANDOM),
}

_MADE = {
    name: made
    for made, table in (
        (_LOOP, "asyncio: get_running_loop get_event_loop new_event_loop"),
        ("asyncio.Task", f"asyncio: create_task ensure_future TaskGroup.create_task\n{_LOOP}.create_task"),
        ("asyncio.Future", f"{_LOOP}.create_future"),
        ("pathlib.Path", "pathlib: PosixPath WindowsPath\nanyio.Path"),
        ("pathlib.Path", "pathlib.Path: cwd home joinpath with_name with_suffix with_stem resolve expanduser absolute"),
        ("pathlib.Path", "pathlib.Path: relative_to rename replace"),
        ("requests.Session", "requests.session"),
        ("relight.Relight", "relight.Relight.local"),
        ("boto3.Client", "boto3: client resource Session.client Session.resource"),
        ("pydantic_ai.Agent", "pydantic_ai.agent.Agent"),
        (_CHAT_MODEL, _CHAT_MODELS),
        ("sqlalchemy.Engine", "sqlalchemy.create_engine"),
        ("sqlalchemy.ext.asyncio.AsyncEngine", "sqlalchemy.ext.asyncio.create_async_engine"),
        ("builtins.list", "builtins.list builtins.sorted collections.deque"),
        ("builtins.dict", "builtins.dict collections.defaultdict collections.OrderedDict collections.Counter"),
        ("builtins.bytearray", "builtins.bytearray"),
        ("itertools.count", "itertools.count"),
        ("itertools.cycle", "itertools.cycle"),
    )
    for name in _names(table)
}


def rule_of_call(name: str, arguments: int) -> Rule | None:
    """Return the rule that a call with so many arguments breaks."""
    if name in _PURE_FROM:
        needed, rule = _PURE_FROM[name]
        return rule if arguments < needed else None
    if name.endswith(("Error", "Exception", "Warning")):
        return None
    return next((_CALLS[prefix] for prefix in _prefixes(name) if prefix in _CALLS), None)


def rule_of_read(name: str) -> Rule | None:
    """Return the rule that is broken by looking at this at all."""
    return _READS.get(name)


def made_by(name: str) -> str | None:
    """Return the class whose instance a call returns, if that is known."""
    return _MADE.get(name) or (name if is_class(name) else None)


def is_class(name: str) -> bool:
    """Return whether it is a class, by how it is written."""
    return name.rpartition(".")[2][:1].isupper()


def _prefixes(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]
