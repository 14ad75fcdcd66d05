"""What is remembered: tables, migrations, queries, and the content-addressed blob store. A leaf without torch."""
